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

// Several whole texts, or one that is longer.
struct TextReading::Group {
  Group(const Engine& engine, const BatchOptions& options) : batch(engine, options), stream(engine.config().n_layer) {
    batch.transformer().observer = &stream;
  }
  Batch batch;
  LastStream stream;
  std::vector<std::unique_ptr<Sequence>> sequences = {};
  std::vector<SequenceRun> runs = {};
  size_t n_done = 0;  // tokens of the only text
};

TextReading::TextReading(const Engine& engine, std::span<const TextToRead> texts, const ReadingOptions& options,
                         Each each)
    : engine_(engine), texts_(texts), options_(options), each_(std::move(each)) {
  check_lengths(engine, texts, resolve_context(engine.config(), options.n_ctx));
}

TextReading::~TextReading() = default;

void TextReading::begin(size_t n_step) {
  const size_t page = Transformer::kv_shape(engine_.config()).page_tokens;
  const size_t n_virtual = options_.adapter ? options_.adapter->virtual_tokens.n : 0;
  size_t end = n_read_, n_tokens = 0, n_room = 0;
  do {
    n_tokens += texts_[end].ids.size();
    n_room += (texts_[end].ids.size() + n_virtual + page - 1) / page * page;
    ++end;
  } while (end < texts_.size() && n_tokens + texts_[end].ids.size() <= n_step);
  group_ = std::make_unique<Group>(engine_, BatchOptions{.n_tokens = n_room, .kv_type = options_.kv_type});
  const size_t n_ctx = resolve_context(engine_.config(), options_.n_ctx);
  for (const TextToRead& text : texts_.subspan(n_read_, end - n_read_)) {
    group_->sequences.push_back(
        group_->batch.new_sequence({.plan = nullptr, .adapter = options_.adapter, .n_ctx = n_ctx}));
    group_->runs.push_back({.sequence = group_->sequences.back().get(),
                            .ids = text.ids,
                            .n_text = text.ids.size(),
                            .second_begins = text.second_begins});
  }
}

void TextReading::finish() {
  const ModelConfig& c = engine_.config();
  std::vector<float>& values = group_->stream.values;
  const MatView<float> states{values.data(), values.size() / c.n_embd, c.n_embd};
  if (c.final_norm)
    norm_rows(*engine_.compute, c.norm, c.norm_eps, states, engine_.model->weights().output_norm, states);
  const std::unique_ptr<Group> group = std::move(group_);
  for (size_t i = 0, row = 0; i < group->runs.size(); ++i, ++n_read_) {
    const size_t n = texts_[n_read_].ids.size();
    const MatView<const float> of_text = states.row_range(row, n);
    check_finite(engine_, texts_[n_read_].ids, n_read_, of_text);
    each_(n_read_, of_text);
    row += n;
  }
}

bool TextReading::step(size_t n_tokens) {
  if (n_read_ == texts_.size()) return false;
  if (!group_) begin(n_tokens);
  if (group_->runs.size() > 1) {
    group_->batch.compute(group_->runs);
    finish();
    return n_read_ < texts_.size();
  }
  // One long text in several steps, where its model allows that.
  SequenceRun& run = group_->runs[0];
  const std::span<const int32_t> rest = std::span(texts_[n_read_].ids).subspan(group_->n_done);
  run.ids = rest.first(run.sequence->n_together(rest.size(), std::max<size_t>(n_tokens, 1)));
  group_->batch.compute(group_->runs);
  group_->n_done += run.ids.size();
  if (run.ids.size() == rest.size()) finish();
  return n_read_ < texts_.size();
}

void read_texts(const Engine& engine, std::span<const TextToRead> texts, const ReadingOptions& options,
                const std::function<void(size_t, MatView<const float>)>& each) {
  TextReading reading(engine, texts, options, each);
  for (bool goes_on = !texts.empty(); goes_on;) {
    engine.compute->throw_if_stopped();
    const size_t n_before = reading.n_read();
    goes_on = reading.step(options.step_tokens);
    if (options.progress && reading.n_read() > n_before) options.progress("texts", reading.n_read(), texts.size());
  }
}

}  // namespace hunch
