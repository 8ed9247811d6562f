#include "engine/hidden_states.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/batch.h"
#include "engine/not_finite.h"
#include "model/observer.h"
#include "model/ops.h"

namespace hunch {
namespace {

// Copies the stream that leaves the last layer.
class LastStream : public Observer {
 public:
  explicit LastStream(size_t n_layer) : n_layer_(n_layer) {}
  void on_residual(size_t layer, MatView<const float> resid) override {
    if (layer != n_layer_) return;
    for (size_t t = 0; t < resid.rows; ++t) values.insert(values.end(), resid.row(t).begin(), resid.row(t).end());
  }
  std::vector<float> values;  // [tokens so far, n_embd]

 private:
  size_t n_layer_;
};

void check_lengths(const Engine& engine, std::span<const TextToRead> texts, size_t n_ctx) {
  const ModelConfig& c = engine.config();
  const bool table = c.position == PositionKind::kLearned || c.position == PositionKind::kSinusoidal;
  for (size_t i = 0; i < texts.size(); ++i) {
    const size_t n = texts[i].ids.size();
    if (n == 0) fail(ErrorKind::kUsage, "text {} has no tokens", i);
    if (table && n > c.n_ctx_train)
      fail(ErrorKind::kLimit, "text {} has {} tokens, the model only {} positions: give it in parts", i, n,
           c.n_ctx_train);
    if (n > n_ctx)
      fail(ErrorKind::kLimit, "text {} has {} tokens, more than the context of {}: {}", i, n, n_ctx, room_for(c, n));
  }
}

void check_finite(const Engine& engine, std::span<const int32_t> ids, size_t text, MatView<const float> states) {
  for (size_t r = 0; r < states.rows; ++r) {
    const auto bad = std::ranges::find_if(states.row(r), [](float x) { return !std::isfinite(x); });
    if (bad == states.row(r).end()) continue;
    const std::string what = fmt::format("a value of the vector of token {} of text {} is {}", r, text, *bad);
    if (engine.config().causal && engine.config().has_output) fail_not_finite(engine, ids.first(r + 1), what);
    fail(ErrorKind::kFormat, "{}, not a finite number: a weight is damaged, or a sum overflows", what);
  }
}

}  // namespace

void read_texts(const Engine& engine, std::span<const TextToRead> texts, const ReadingOptions& options,
                const std::function<void(size_t, MatView<const float>)>& each) {
  const ModelConfig& c = engine.config();
  const size_t n_ctx = resolve_context(c, options.n_ctx);
  check_lengths(engine, texts, n_ctx);
  for (size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
    engine.compute->throw_if_stopped();
    // Texts that share a step: as many as it holds, or one that is longer.
    size_t n_tokens = texts[begin].ids.size(), n_room = 0;
    for (end = begin + 1; end < texts.size() && n_tokens + texts[end].ids.size() <= options.step_tokens; ++end)
      n_tokens += texts[end].ids.size();
    const size_t page = Transformer::kv_shape(c).page_tokens;
    for (size_t i = begin; i < end; ++i) n_room += (texts[i].ids.size() + page - 1) / page * page;
    Batch batch(engine, {.n_tokens = n_room, .kv_dtype = options.kv_dtype});
    LastStream stream(c.n_layer);
    batch.transformer().observer = &stream;
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<SequenceRun> runs;
    for (size_t i = begin; i < end; ++i) {
      sequences.push_back(batch.new_sequence({.plan = nullptr, .adapter = options.adapter, .n_ctx = n_ctx}));
      runs.push_back(
          {.sequence = sequences.back().get(), .n_text = texts[i].ids.size(), .second_begins = texts[i].second_begins});
    }
    // One long text in several steps, where its model allows that.
    for (size_t first = 0; first < texts[begin].ids.size();) {
      for (size_t i = begin; i < end; ++i) {
        const std::span<const int32_t> rest = std::span(texts[i].ids).subspan(first);
        runs[i - begin].ids =
            end - begin > 1 ? rest : rest.first(runs[0].sequence->n_together(rest.size(), Sequence::kChunkTokens));
      }
      first += runs[0].ids.size();
      batch.compute(runs);
    }
    const MatView<float> states{stream.values.data(), n_tokens, c.n_embd};
    if (c.final_norm)
      norm_rows(*engine.compute, c.norm, c.norm_eps, states, engine.model->weights().output_norm, states);
    for (size_t i = begin, row = 0; i < end; row += texts[i++].ids.size()) {
      const MatView<const float> of_text = states.row_range(row, texts[i].ids.size());
      check_finite(engine, texts[i].ids, i, of_text);
      each(i, of_text);
    }
    if (options.progress) options.progress("texts", end, texts.size());
  }
}

}  // namespace hunch
