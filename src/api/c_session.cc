// The C API: a text that is kept between calls.
#include "api/c_common.h"
#include "hunch/session.h"

using namespace hunch::c;

struct hunch_session {
  hunch::Session session;
};

extern "C" {

void hunch_session_options_init_sized(hunch_session_options* options, size_t size) {
  give_sized(hunch_session_options{}, options, size);
}

hunch_session* hunch_session_new(hunch_model* model, const hunch_session_options* options) {
  return guarded<hunch_session*>(nullptr, [&] {
    require(model, "hunch_session_new: model is NULL");
    const hunch_session_options c = take_sized(options, hunch_session_options{});
    hunch::SessionOptions o;
    o.n_ctx = c.n_ctx;
    take_choices(c, o);
    return new hunch_session{hunch::Session(model->model, o)};
  });
}

void hunch_session_free(hunch_session* session) { delete session; }

hunch_answer* hunch_session_generate(hunch_session* session, const char* text, const hunch_generation_options* options,
                                     hunch_on_text on_text, void* user) {
  return guarded<hunch_answer*>(nullptr, [&] {
    require(session && text, "hunch_session_generate: a pointer is NULL");
    return new hunch_answer{session->session.generate(text, generation_options(options), on_text_of(on_text, user))};
  });
}

hunch_answer* hunch_session_generate_ids(hunch_session* session, const int32_t* ids, size_t n_ids,
                                         const hunch_generation_options* options, hunch_on_text on_text, void* user) {
  return guarded<hunch_answer*>(nullptr, [&] {
    require(session, "hunch_session_generate_ids: session is NULL");
    return new hunch_answer{
        session->session.generate(ids_of(ids, n_ids), generation_options(options), on_text_of(on_text, user))};
  });
}

int hunch_session_read(hunch_session* session, const char* text) {
  return guarded(-1, [&] {
    require(session && text, "hunch_session_read: a pointer is NULL");
    session->session.read(text);
    return 0;
  });
}

int hunch_session_read_ids(hunch_session* session, const int32_t* ids, size_t n_ids) {
  return guarded(-1, [&] {
    require(session, "hunch_session_read_ids: session is NULL");
    session->session.read(ids_of(ids, n_ids));
    return 0;
  });
}

int hunch_session_truncate(hunch_session* session, size_t n_tokens) {
  return guarded(-1, [&] {
    require(session, "hunch_session_truncate: session is NULL");
    session->session.truncate(n_tokens);
    return 0;
  });
}

size_t hunch_session_n_tokens(const hunch_session* session) { return session ? session->session.ids().size() : 0; }
const int32_t* hunch_session_ids(const hunch_session* session) {
  return session ? session->session.ids().data() : nullptr;
}
size_t hunch_session_n_ctx(const hunch_session* session) { return session ? session->session.n_ctx() : 0; }

}  // extern "C"
