// The C API: models and their texts.
#include "api/c_common.h"

using namespace hunch::c;

namespace {

hunch_load_options defaults() {
  const hunch::LoadOptions d;
  hunch_load_options o{};
  o.n_threads = d.n_threads;
  o.n_ctx = d.n_ctx;
  o.kv_f16 = d.kv_f16;
  o.plan = "exact";
  o.density = d.plan.density;
  return o;
}

hunch::LoadOptions load_options(const hunch_load_options* options) {
  const hunch_load_options o = take_sized(options, defaults());
  hunch::LoadOptions load;
  load.n_threads = o.n_threads;
  load.n_ctx = o.n_ctx;
  load.kv_f16 = o.kv_f16 != 0;
  if (o.plan) load.plan.name = o.plan;
  load.plan.density = o.density;
  load.sidecar = text_or_empty(o.sidecar);
  load.threads_of = o.threads_of ? &o.threads_of->model : nullptr;
  return load;
}

}  // namespace

extern "C" {

void hunch_load_options_init_sized(hunch_load_options* options, size_t size) { give_sized(defaults(), options, size); }

hunch_model* hunch_load(const char* path, const hunch_load_options* options) {
  return guarded<hunch_model*>(nullptr, [&] {
    require(path, "hunch_load: path is NULL");
    return new hunch_model{hunch::LanguageModel(path, load_options(options))};
  });
}

void hunch_free(hunch_model* model) { delete model; }

size_t hunch_n_vocab(const hunch_model* model) { return model ? model->model.info().n_vocab : 0; }
size_t hunch_n_embd(const hunch_model* model) { return model ? model->model.info().n_embd : 0; }
size_t hunch_n_ctx_train(const hunch_model* model) { return model ? model->model.info().n_ctx_train : 0; }

int64_t hunch_tokenize(const hunch_model* model, const char* text, int add_special, int32_t* ids, size_t capacity) {
  return guarded<int64_t>(-1, [&] {
    require(model && text && (ids || capacity == 0), "hunch_tokenize: a pointer is NULL");
    const auto all = model->model.tokenize(text, add_special != 0);
    for (size_t i = 0; i < all.size() && i < capacity; ++i) ids[i] = all[i];
    return int64_t(all.size());
  });
}

char* hunch_detokenize(const hunch_model* model, const int32_t* ids, size_t n_ids) {
  return guarded<char*>(nullptr, [&] {
    require(model && (ids || n_ids == 0), "hunch_detokenize: a pointer is NULL");
    return copy_of(model->model.detokenize({ids, n_ids}));
  });
}

}  // extern "C"
