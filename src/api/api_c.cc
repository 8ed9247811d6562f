// The C API: every function catches, remembers the message and returns a value that says so.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "hunch/evaluate.h"
#include "hunch/generate.h"
#include "hunch/hunch.h"
#include "hunch/version.h"

struct hunch_model {
  hunch::LanguageModel model;
};

namespace {

thread_local std::string last_error;

// Runs `body`; on an exception remembers the message and returns `failed`.
template <class Result, class Body>
Result guarded(Result failed, Body&& body) noexcept {
  try {
    last_error.clear();
    return body();
  } catch (const std::exception& e) {
    last_error = e.what();
  } catch (...) {
    last_error = "unknown error";
  }
  return failed;
}

void require(bool ok, const char* what) {
  if (!ok) throw hunch::Error(hunch::ErrorKind::kUsage, what);
}

char* copy_of(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace

extern "C" {

const char* hunch_last_error(void) { return last_error.c_str(); }
const char* hunch_version(void) { return HUNCH_VERSION; }

hunch_model* hunch_load(const char* path, const hunch_load_options* options) {
  return guarded<hunch_model*>(nullptr, [&] {
    require(path, "hunch_load: path is NULL");
    hunch::LoadOptions load;
    if (options) load = {options->n_threads, options->n_ctx, options->kv_f16 != 0, options->dense == 0};
    return new hunch_model{hunch::LanguageModel(path, load)};
  });
}

void hunch_free(hunch_model* model) { delete model; }

size_t hunch_n_vocab(const hunch_model* model) { return model ? model->model.info().n_vocab : 0; }
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

void hunch_generation_options_init(hunch_generation_options* options) {
  if (!options) return;
  const hunch::GenerationOptions d;
  *options = {
      d.n_tokens,          d.temperature,      d.top_k,          d.top_p, d.min_p, d.typical_p, d.repeat_penalty,
      d.frequency_penalty, d.presence_penalty, d.penalty_last_n, d.seed,  0};
}

char* hunch_generate(hunch_model* model, const char* prompt, const hunch_generation_options* options,
                     hunch_on_text on_text, void* user) {
  return guarded<char*>(nullptr, [&] {
    require(model && prompt, "hunch_generate: a pointer is NULL");
    hunch::GenerationOptions o;
    if (options) {
      o.n_tokens = options->n_tokens;
      o.temperature = options->temperature;
      o.top_k = options->top_k;
      o.top_p = options->top_p;
      o.min_p = options->min_p;
      o.typical_p = options->typical_p;
      o.repeat_penalty = options->repeat_penalty;
      o.frequency_penalty = options->frequency_penalty;
      o.presence_penalty = options->presence_penalty;
      o.penalty_last_n = options->penalty_last_n;
      o.seed = options->seed;
      o.ignore_end = options->ignore_end != 0;
    }
    hunch::OnText sink;
    if (on_text) sink = [&](std::string_view piece) { return on_text(std::string(piece).c_str(), user) != 0; };
    return copy_of(hunch::generate(model->model, prompt, o, sink).text);
  });
}

void hunch_free_string(char* text) { std::free(text); }

int hunch_logits(hunch_model* model, const int32_t* ids, size_t n_ids, float* logits) {
  return guarded<int>(-1, [&] {
    require(model && ids && logits, "hunch_logits: a pointer is NULL");
    const hunch::Logits all = hunch::logits(model->model, {ids, n_ids});
    std::memcpy(logits, all.values.data(), all.values.size() * sizeof(float));
    return 0;
  });
}

double hunch_perplexity(hunch_model* model, const char* text) {
  return guarded<double>(-1.0, [&] {
    require(model && text, "hunch_perplexity: a pointer is NULL");
    return hunch::perplexity(model->model, text).perplexity;
  });
}

}  // extern "C"
