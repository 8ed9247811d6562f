#include "compress/block_probe.h"

#include <algorithm>
#include <cmath>

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
  Impl(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample)
      : engine(engine), walk(engine, ids, sample) {}

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
  BlockWalk walk;
  std::vector<float> inputs[kNInputParts], magnitudes[kNInputParts], gate;
};

void BlockProbe::Impl::next() {
  walk.next();
  for (auto& values : inputs) values.clear();
  walk.compute(this);
  find_gate_magnitudes();
  for (size_t p = 0; p < kNInputParts; ++p) {
    magnitudes[p] = sorted_magnitudes({inputs[p].data(), walk.n_tokens(), inputs[p].size() / walk.n_tokens()});
    inputs[p].clear();
  }
}

void BlockProbe::Impl::find_gate_magnitudes() {
  const Mlp& m = engine.model->weights().layers[walk.layer()].mlp;
  const MatView<const float> ff_act(inputs[size_t(InputPart::kNeurons)].data(), walk.n_tokens(), m.n_ff);
  if (!m.gate) {
    gate = sorted_magnitudes(ff_act);
    return;
  }
  std::vector<float> values(walk.n_tokens() * m.n_ff);
  const MatView<float> act(values.data(), walk.n_tokens(), m.n_ff);
  const MatView<const float> mlp_in(inputs[size_t(InputPart::kMlp)].data(), walk.n_tokens(), engine.config().n_embd);
  const Arena::Scope scope(engine.compute->arena);
  m.gate->dot(*engine.compute, std::vector<TokenTraits>(walk.n_tokens()), mlp_in, {}, act);
  for (size_t t = 0; t < act.rows; ++t) activate(engine.config().activation, act.row(t));
  gate = sorted_magnitudes(act);
}

double BlockProbe::Impl::error(const MethodPoint& point) {
  const auto plan = std::make_shared<Plan>();
  point.set(*plan, walk.layer());
  const std::shared_ptr<const Plan> watching = plan;
  const size_t n_prompt = point.method == Method::kGriffin ? walk.n_window() / 2 : 0;  // GRIFFIN is shown it first
  double missed = 0, whole = 0;
  for (size_t w = 0; w < walk.n_windows(); ++w) {
    engine.compute->throw_if_stopped();
    const BlockWalk::Sequence sequence(walk);
    SelectorStates states;
    const auto run = [&](size_t n_tokens, Phase phase) {
      Run r{sequence.id, n_tokens, phase, plan.get()};
      r.states = &states;
      r.watching = {&watching, 1};
      return r;
    };
    if (n_prompt > 0) walk.pass(w, 0, run(n_prompt, Phase::kPrompt));
    const MatView<const float> out = walk.pass(w, n_prompt, run(walk.n_window() - n_prompt, Phase::kDecode));
    for (size_t t = n_prompt; t < walk.n_window(); ++t) {
      missed += squared_distance(out.row(t - n_prompt), walk.leaving(w).row(t));
      whole += squared_distance(walk.entering(w).row(t), walk.leaving(w).row(t));
    }
  }
  return missed / std::max(whole, 1e-30);
}

BlockProbe::BlockProbe(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample)
    : impl_(std::make_unique<Impl>(engine, ids, sample)) {}
BlockProbe::~BlockProbe() = default;
void BlockProbe::next() { impl_->next(); }
size_t BlockProbe::layer() const { return impl_->walk.layer(); }
std::span<const float> BlockProbe::magnitudes(InputPart part) const { return impl_->magnitudes[size_t(part)]; }
std::span<const float> BlockProbe::gate_magnitudes() const { return impl_->gate; }
double BlockProbe::error(const MethodPoint& point) { return impl_->error(point); }

float magnitude_quantile(std::span<const float> magnitudes, double below) {
  const size_t n = std::min(magnitudes.size(), size_t(std::lround(below * double(magnitudes.size()))));
  return n == 0 ? -1.0f : magnitudes[n - 1];
}

}  // namespace hunch
