// The C API: conversations.
#include "api/c_common.h"
#include "hunch/chat.h"

using namespace hunch::c;

struct hunch_chat {
  hunch::ChatSession chat;
};

extern "C" {

void hunch_chat_options_init_sized(hunch_chat_options* options, size_t size) {
  give_sized(hunch_chat_options{}, options, size);
}

hunch_chat* hunch_chat_new(hunch_model* model, const hunch_chat_options* options) {
  return guarded<hunch_chat*>(nullptr, [&] {
    require(model, "hunch_chat_new: model is NULL");
    const hunch_chat_options c = take_sized(options, hunch_chat_options{});
    hunch::ChatOptions o;
    o.system = text_or_empty(c.system);
    o.template_file = text_or_empty(c.template_file);
    o.n_ctx = c.n_ctx;
    take_choices(c, o);
    return new hunch_chat{hunch::ChatSession(model->model, o)};
  });
}

void hunch_chat_free(hunch_chat* chat) { delete chat; }

hunch_answer* hunch_chat_say(hunch_chat* chat, const char* message, const hunch_generation_options* options,
                             hunch_on_text on_text, void* user) {
  return guarded<hunch_answer*>(nullptr, [&] {
    require(chat && message, "hunch_chat_say: a pointer is NULL");
    hunch::ChatAnswer said = chat->chat.say(message, generation_options(options), on_text_of(on_text, user));
    return new hunch_answer{std::move(said.generation), said.n_forgotten, said.n_cached};
  });
}

int hunch_chat_set_system(hunch_chat* chat, const char* text) {
  return guarded(-1, [&] {
    require(chat && text, "hunch_chat_set_system: a pointer is NULL");
    chat->chat.set_system(text);
    return 0;
  });
}

int hunch_chat_reset(hunch_chat* chat) {
  return guarded(-1, [&] {
    require(chat, "hunch_chat_reset: chat is NULL");
    chat->chat.reset();
    return 0;
  });
}

char* hunch_chat_messages(const hunch_chat* chat) {
  return guarded<char*>(nullptr, [&] {
    require(chat, "hunch_chat_messages: chat is NULL");
    return copy_of(chat->chat.messages_json());
  });
}

}  // extern "C"
