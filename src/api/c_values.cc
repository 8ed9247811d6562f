// The C API: logits, perplexity and embeddings.
#include "api/c_common.h"
#include "hunch/embed.h"
#include "hunch/evaluate.h"

using namespace hunch::c;

namespace {

hunch_embedding_options defaults() {
  const hunch::EmbeddingOptions d;
  hunch_embedding_options o{};
  o.last = d.pooling == hunch::Pooling::kLast;
  o.normalize = d.normalize;
  return o;
}

}  // namespace

extern "C" {

int hunch_logits(hunch_model* model, const int32_t* ids, size_t n_ids, float* logits) {
  return guarded(-1, [&] {
    require(model && ids && logits, "hunch_logits: a pointer is NULL");
    const hunch::Logits all = hunch::logits(model->model, {ids, n_ids});
    std::copy(all.values.begin(), all.values.end(), logits);
    return 0;
  });
}

double hunch_perplexity(hunch_model* model, const char* text) {
  return guarded(-1.0, [&] {
    require(model && text, "hunch_perplexity: a pointer is NULL");
    return hunch::perplexity(model->model, text).perplexity;
  });
}

void hunch_embedding_options_init_sized(hunch_embedding_options* options, size_t size) {
  give_sized(defaults(), options, size);
}

int hunch_embed(hunch_model* model, const char* text, const hunch_embedding_options* options, float* embedding) {
  return guarded(-1, [&] {
    require(model && text && embedding, "hunch_embed: a pointer is NULL");
    const hunch_embedding_options c = take_sized(options, defaults());
    hunch::EmbeddingOptions o;
    o.pooling = c.last ? hunch::Pooling::kLast : hunch::Pooling::kMean;
    o.normalize = c.normalize != 0;
    o.cancel = cancel_of(c.cancel);
    const std::vector<float> state = hunch::embed(model->model, text, o);
    std::copy(state.begin(), state.end(), embedding);
    return 0;
  });
}

}  // extern "C"
