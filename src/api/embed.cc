// Hidden states, vectors of texts, and scores of pairs.
#include "hunch/embed.h"

#include <algorithm>

#include "api/impl.h"
#include "api/options.h"
#include "api/stop_of.h"
#include "engine/hidden_states.h"
#include "engine/pooling.h"
#include "engine/rank.h"

namespace hunch {
namespace {

using Adapters = std::optional<std::vector<LoraAdapter>>;

// A prompt is read by the whole model whatever the plan and the policies.
ReadingOptions reading_options(ModelImpl& impl, const Adapters& adapters) {
  ReadingOptions own;
  own.n_ctx = impl.options.n_ctx;
  own.adapter = impl.choices.adapter(adapters.value_or(impl.options.adapters));
  return own;
}

PoolingKind kind_of(Pooling pooling) {
  switch (pooling) {
    case Pooling::kLast: return PoolingKind::kLast;
    case Pooling::kCls: return PoolingKind::kCls;
    case Pooling::kMean: break;
  }
  return PoolingKind::kMean;
}

}  // namespace

HiddenStates hidden_states(LanguageModel& model, std::span<const int32_t> ids, const HiddenStateOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  HiddenStates out;
  out.n_tokens = ids.size();
  out.n_embd = impl.engine.config().n_embd;
  const TextToRead text{{ids.begin(), ids.end()}};
  read_texts(impl.engine, {&text, 1}, reading_options(impl, options.adapters),
             [&](size_t, MatView<const float> states) {
               out.values.assign(states.data, states.data + states.rows * states.cols);
             });
  return out;
}

std::vector<std::vector<float>> embed_all(LanguageModel& model, std::span<const std::string> texts,
                                          const EmbeddingOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  const PoolingKind kind = options.pooling ? kind_of(*options.pooling) : pooling_of(impl.engine.config());
  std::vector<TextToRead> read;
  for (const std::string& text : texts) read.push_back({impl.engine.encode(text)});
  std::vector<std::vector<float>> out(texts.size(), std::vector<float>(impl.engine.config().n_embd));
  read_texts(impl.engine, read, reading_options(impl, options.adapters), [&](size_t i, MatView<const float> states) {
    pool(states, kind, out[i]);
    if (options.normalize) scale_to_length_1(out[i]);
  });
  return out;
}

std::vector<float> embed(LanguageModel& model, std::string_view text, const EmbeddingOptions& options) {
  const std::string one(text);
  return embed_all(model, {&one, 1}, options)[0];
}

std::vector<float> rerank(LanguageModel& model, std::string_view query, std::span<const std::string> documents,
                          const HiddenStateOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  return rank(impl.engine, query, documents, reading_options(impl, options.adapters));
}

}  // namespace hunch
