#include "compress/block_probe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr size_t kMaxMagnitudes = 200000;

std::vector<float> sorted_magnitudes(MatView<const float> X) {
  std::vector<float> out;
  const size_t n = X.rows * X.cols, step = std::max<size_t>(1, n / kMaxMagnitudes);
  out.reserve(n / step + 1);
  for (size_t i = 0; i < n; i += step) out.push_back(std::abs(X.row(i / X.cols)[i % X.cols]));
  std::ranges::sort(out);
  return out;
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
  return sum;
}

}  // namespace

struct BlockProbe::Impl : Observer {
  Impl(const Engine& engine, std::span<const int32_t> ids, const BlockProbeOptions& options)
      : engine(engine),
        n_window(std::min({options.n_window, engine.config().n_ctx_train, ids.size()})),
        n_windows(std::max<size_t>(1, std::min(options.n_tokens, ids.size()) / n_window)),
        cache(Transformer::kv_shape(engine.config()), n_window),
        transformer(*engine.model, cache, *engine.compute) {
    if (n_window < 2) fail(ErrorKind::kUsage, "a sample of {} tokens is too short", ids.size());
    for (size_t w = 0; w < n_windows; ++w) {
      const size_t first = n_windows == 1 ? 0 : (ids.size() - n_window) * w / (n_windows - 1);
      sample.insert(sample.end(), ids.begin() + ptrdiff_t(first), ids.begin() + ptrdiff_t(first + n_window));
    }
    stream.resize(sample.size() * engine.config().n_embd);
    dense = stream;
  }

  // One in the cache, until the end of the scope.
  struct Sequence {
    explicit Sequence(KvCache& cache) : cache(cache), id(cache.create()) {}
    ~Sequence() { cache.release(id); }
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;
    KvCache& cache;
    const KvCache::SequenceId id;
  };

  MatView<float> rows_of(std::vector<float>& values, size_t window) {
    return {&values[window * n_window * engine.config().n_embd], n_window, engine.config().n_embd};
  }

  // The layer on a window's tokens [first, first + run.n_tokens); the view lives until the next call.
  MatView<const float> pass(size_t window, size_t first, const Run& run) {
    const StepInput input{std::span(sample).subspan(window * n_window + first, run.n_tokens), {&run, 1}, {}};
    return transformer.run_blocks(input, layer, layer + 1, rows_of(stream, window).row_range(first, run.n_tokens));
  }

  void embed(size_t window) {
    const Sequence sequence(cache);
    const Run run{sequence.id, n_window};
    const StepInput input{std::span(sample).subspan(window * n_window, n_window), {&run, 1}, {}};
    const MatView<const float> out = transformer.run_blocks(input, 0, 0, {});
    for (size_t t = 0; t < n_window; ++t) std::ranges::copy(out.row(t), rows_of(stream, window).row(t).begin());
  }

  void on_attention_input(size_t, MatView<const float> x) override { keep(InputPart::kAttention, x); }
  void on_heads(size_t, MatView<const float> x) override { keep(InputPart::kHeads, x); }
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override {
    if (!place.is_dense()) return;
    keep(InputPart::kMlp, mlp_in);
    keep(InputPart::kNeurons, ff_act);
  }
  void keep(InputPart part, MatView<const float> x) {
    for (size_t t = 0; t < x.rows; ++t)
      inputs[size_t(part)].insert(inputs[size_t(part)].end(), x.row(t).begin(), x.row(t).end());
  }

  void next();
  void find_gate_magnitudes();
  double error(const MethodPoint& point);

  const Engine& engine;
  size_t n_window, n_windows, layer = 0;
  bool begun = false;
  std::vector<int32_t> sample;
  KvCache cache;
  Transformer transformer;
  std::vector<float> stream, dense;  // [n_windows * n_window, n_embd] before and after the layer
  std::vector<float> inputs[kNInputParts], magnitudes[kNInputParts], gate;
};

void BlockProbe::Impl::next() {
  if (begun) {
    ++layer;
    std::swap(stream, dense);
  } else {
    for (size_t w = 0; w < n_windows; ++w) embed(w);
    begun = true;
  }
  HUNCH_CHECK(layer < engine.config().n_layer, "no layer {}", layer);
  for (auto& values : inputs) values.clear();
  transformer.observer = this;
  for (size_t w = 0; w < n_windows; ++w) {
    const Sequence sequence(cache);
    const MatView<const float> out = pass(w, 0, {sequence.id, n_window});
    for (size_t t = 0; t < n_window; ++t) {
      const auto finite = [](float v) { return std::isfinite(v); };
      if (!std::ranges::all_of(out.row(t), finite))
        fail(ErrorKind::kFormat,
             "layer {}, token {} of the sample: an activation is not finite; is the model file damaged?", layer,
             w * n_window + t);
      std::ranges::copy(out.row(t), rows_of(dense, w).row(t).begin());
    }
  }
  transformer.observer = nullptr;
  find_gate_magnitudes();
  for (size_t p = 0; p < kNInputParts; ++p) {
    magnitudes[p] = sorted_magnitudes({inputs[p].data(), sample.size(), inputs[p].size() / sample.size()});
    inputs[p].clear();
  }
}

void BlockProbe::Impl::find_gate_magnitudes() {
  const Mlp& m = engine.model->weights().layers[layer].mlp;
  const MatView<const float> ff_act(inputs[size_t(InputPart::kNeurons)].data(), sample.size(), m.n_ff);
  if (!m.gate) {
    gate = sorted_magnitudes(ff_act);
    return;
  }
  std::vector<float> values(sample.size() * m.n_ff);
  const MatView<float> act(values.data(), sample.size(), m.n_ff);
  const MatView<const float> mlp_in(inputs[size_t(InputPart::kMlp)].data(), sample.size(), engine.config().n_embd);
  const Arena::Scope scope(engine.compute->arena);
  m.gate->dot(*engine.compute, std::vector<TokenTraits>(sample.size()), mlp_in, {}, act);
  for (size_t t = 0; t < act.rows; ++t) activate(engine.config().activation, act.row(t));
  gate = sorted_magnitudes(act);
}

double BlockProbe::Impl::error(const MethodPoint& point) {
  const auto plan = std::make_shared<Plan>();
  point.set(*plan, layer);
  const std::shared_ptr<const Plan> watching = plan;
  const size_t n_prompt = point.method == Method::kGriffin ? n_window / 2 : 0;  // GRIFFIN is shown it first
  double missed = 0, whole = 0;
  for (size_t w = 0; w < n_windows; ++w) {
    engine.compute->throw_if_stopped();
    const Sequence sequence(cache);
    SelectorStates states;
    const auto run = [&](size_t n_tokens, Phase phase) {
      Run r{sequence.id, n_tokens, phase, plan.get()};
      r.states = &states;
      r.watching = {&watching, 1};
      return r;
    };
    if (n_prompt > 0) pass(w, 0, run(n_prompt, Phase::kPrompt));
    const MatView<const float> out = pass(w, n_prompt, run(n_window - n_prompt, Phase::kDecode));
    for (size_t t = n_prompt; t < n_window; ++t) {
      missed += squared_distance(out.row(t - n_prompt), rows_of(dense, w).row(t));
      whole += squared_distance(rows_of(stream, w).row(t), rows_of(dense, w).row(t));
    }
  }
  return missed / std::max(whole, 1e-30);
}

BlockProbe::BlockProbe(const Engine& engine, std::span<const int32_t> ids, const BlockProbeOptions& options)
    : impl_(std::make_unique<Impl>(engine, ids, options)) {}
BlockProbe::~BlockProbe() = default;
void BlockProbe::next() { impl_->next(); }
size_t BlockProbe::layer() const { return impl_->layer; }
std::span<const float> BlockProbe::magnitudes(InputPart part) const { return impl_->magnitudes[size_t(part)]; }
std::span<const float> BlockProbe::gate_magnitudes() const { return impl_->gate; }
double BlockProbe::error(const MethodPoint& point) { return impl_->error(point); }

float magnitude_quantile(std::span<const float> magnitudes, double below) {
  const size_t n = std::min(magnitudes.size(), size_t(std::lround(below * double(magnitudes.size()))));
  return n == 0 ? -1.0f : magnitudes[n - 1];
}

}  // namespace hunch
