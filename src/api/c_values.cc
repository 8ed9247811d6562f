// The C API: logits, perplexity and embeddings.
#include "api/c_common.h"
#include "hunch/embed.h"
#include "hunch/evaluate.h"

using namespace hunch::c;

namespace {

hunch_embedding_options embedding_defaults() {
  const hunch::EmbeddingOptions d;
  hunch_embedding_options o{};
  o.normalize = d.normalize;
  return o;
}

std::optional<hunch::Pooling> pooling_choice(const hunch_embedding_options& c) {
  const std::string name = c.last ? "last" : text_or_empty(c.pooling);
  require(!c.last || !c.pooling || name == c.pooling, "hunch_embedding_options: `last` and another `pooling`");
  if (name.empty()) return std::nullopt;
  if (name == "mean") return hunch::Pooling::kMean;
  if (name == "cls") return hunch::Pooling::kCls;
  require(name == "last", "hunch_embedding_options: the pooling is none of mean, cls and last");
  return hunch::Pooling::kLast;
}

// What hidden states and scores of pairs read of them.
hunch::HiddenStateOptions state_options(const hunch_embedding_options& c) {
  hunch::HiddenStateOptions o;
  o.adapters = adapters_choice(c.adapters, c.adapter_scales, c.n_adapters);
  o.cancel = cancel_of(c.cancel);
  return o;
}

}  // namespace

extern "C" {

void hunch_evaluation_options_init_sized(hunch_evaluation_options* options, size_t size) {
  give_sized(hunch_evaluation_options{}, options, size);
}

int hunch_logits(hunch_model* model, const int32_t* ids, size_t n_ids, const hunch_evaluation_options* options,
                 float* logits) {
  return guarded(-1, [&] {
    require(model && logits, "hunch_logits: a pointer is NULL");
    const hunch_evaluation_options c = take_sized(options, hunch_evaluation_options{});
    const hunch::Logits all = hunch::logits(model->model, ids_of(ids, n_ids), value_options<hunch::LogitsOptions>(c));
    std::copy(all.values.begin(), all.values.end(), logits);
    return 0;
  });
}

double hunch_perplexity(hunch_model* model, const char* text, const hunch_evaluation_options* options) {
  return guarded(-1.0, [&] {
    require(model && text, "hunch_perplexity: a pointer is NULL");
    const hunch_evaluation_options c = take_sized(options, hunch_evaluation_options{});
    auto o = value_options<hunch::TextPerplexityOptions>(c);
    o.n_ctx = c.n_ctx;
    o.stride = c.stride;
    o.max_tokens = c.max_tokens;
    return hunch::perplexity(model->model, text, o).perplexity;
  });
}

void hunch_embedding_options_init_sized(hunch_embedding_options* options, size_t size) {
  give_sized(embedding_defaults(), options, size);
}

int hunch_embed(hunch_model* model, const char* text, const hunch_embedding_options* options, float* embedding) {
  return guarded(-1, [&] {
    require(model && text && embedding, "hunch_embed: a pointer is NULL");
    const hunch_embedding_options c = take_sized(options, embedding_defaults());
    hunch::EmbeddingOptions o;
    o.pooling = pooling_choice(c);
    o.normalize = c.normalize != 0;
    o.adapters = adapters_choice(c.adapters, c.adapter_scales, c.n_adapters);
    o.cancel = cancel_of(c.cancel);
    const std::vector<float> state = hunch::embed(model->model, text, o);
    std::copy(state.begin(), state.end(), embedding);
    return 0;
  });
}

int hunch_hidden_states(hunch_model* model, const int32_t* ids, size_t n_ids, const hunch_embedding_options* options,
                        float* states) {
  return guarded(-1, [&] {
    require(model && states, "hunch_hidden_states: a pointer is NULL");
    const hunch_embedding_options c = take_sized(options, embedding_defaults());
    const hunch::HiddenStates all = hunch::hidden_states(model->model, ids_of(ids, n_ids), state_options(c));
    std::copy(all.values.begin(), all.values.end(), states);
    return 0;
  });
}

int hunch_rerank(hunch_model* model, const char* query, const char* const* documents, size_t n,
                 const hunch_embedding_options* options, float* scores) {
  return guarded(-1, [&] {
    require(model && query && (documents || n == 0) && (scores || n == 0), "hunch_rerank: a pointer is NULL");
    std::vector<std::string> texts;
    for (size_t i = 0; i < n; ++i) {
      require(documents[i], "hunch_rerank: a document is NULL");
      texts.emplace_back(documents[i]);
    }
    const hunch_embedding_options c = take_sized(options, embedding_defaults());
    std::ranges::copy(hunch::rerank(model->model, query, texts, state_options(c)), scores);
    return 0;
  });
}

}  // extern "C"
