// The C API: models and their texts.
#include "api/c_common.h"

using namespace hunch::c;

namespace {

hunch_load_options load_defaults() {
  const hunch::LoadOptions d;
  hunch_load_options o{};
  o.n_threads = d.n_threads;
  o.n_ctx = d.n_ctx;
  o.kv = "f16";
  o.precision = "f32";
  o.plan = "exact";
  o.density = d.plan.density;
  o.gpu_neurons = d.gpu_neurons;
  return o;
}

hunch::LoadOptions load_options(const hunch_load_options* options) {
  const hunch_load_options o = take_sized(options, load_defaults());
  hunch::LoadOptions load;
  load.n_threads = o.n_threads;
  load.n_ctx = o.n_ctx;
  if (o.kv) load.kv = o.kv;
  if (o.precision) load.precision = o.precision;
  if (o.plan) load.plan.name = o.plan;
  load.plan.density = o.density;
  load.kv_policy = text_or_empty(o.kv_policy);
  if (auto adapters = adapters_choice(o.adapters, o.adapter_scales, o.n_adapters)) load.adapters = std::move(*adapters);
  load.sidecar = text_or_empty(o.sidecar);
  load.threads_of = o.threads_of ? &o.threads_of->model : nullptr;
  load.experts = text_or_empty(o.experts);
  load.costs = text_or_empty(o.costs);
  load.cancel = cancel_of(o.cancel);
  if (o.device) load.device = o.device;
  if (o.gpu_layers) load.gpu_layers = *o.gpu_layers;
  load.gpu_neurons = o.gpu_neurons;
  return load;
}

}  // namespace

extern "C" {

void hunch_load_options_init_sized(hunch_load_options* options, size_t size) {
  give_sized(load_defaults(), options, size);
}

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

void hunch_model_info_get_sized(const hunch_model* model, hunch_model_info* info, size_t size) {
  hunch_model_info out{};
  out.architecture = out.name = out.dtype = out.device = "";
  if (model) {
    const hunch::ModelInfo& m = model->model.info();
    out.architecture = m.architecture.c_str();
    out.name = m.name.c_str();
    out.dtype = m.dtype.c_str();
    out.n_params = m.n_params;
    out.weight_bytes = m.weight_bytes;
    out.n_layer = m.n_layer;
    out.n_embd = m.n_embd;
    out.n_head = m.n_head;
    out.n_kv_head = m.n_kv_head;
    out.n_ff = m.n_ff;
    out.n_vocab = m.n_vocab;
    out.n_ctx_train = m.n_ctx_train;
    out.has_tokenizer = m.has_tokenizer;
    out.has_chat_template = m.has_chat_template;
    out.n_ctx = m.n_ctx;
    out.bos = m.bos;
    out.eos = m.eos;
    out.device = m.device.c_str();
  }
  give_sized(out, info, size);
}

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
    require(model, "hunch_detokenize: model is NULL");
    return copy_of(model->model.detokenize(ids_of(ids, n_ids)));
  });
}

char* hunch_apply_chat_template(const hunch_model* model, const char* messages_json, int add_generation_prompt) {
  return guarded<char*>(nullptr, [&] {
    require(model && messages_json, "hunch_apply_chat_template: a pointer is NULL");
    return copy_of(model->model.apply_chat_template(messages_json, add_generation_prompt != 0));
  });
}

}  // extern "C"
