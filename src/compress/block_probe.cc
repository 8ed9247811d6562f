#include "compress/block_probe.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops.h"
#include "model/ops.h"

namespace hunch {
namespace {

constexpr size_t kMaxMagnitudes = 200000;

std::vector<float> sorted_magnitudes(std::span<const float> x) {
  std::vector<float> out;
  const size_t step = std::max<size_t>(1, x.size() / kMaxMagnitudes);
  out.reserve(x.size() / step + 1);
  for (size_t i = 0; i < x.size(); i += step) out.push_back(std::abs(x[i]));
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
    keep_gate(place, mlp_in, ff_act);
    keep(InputPart::kMlp, mlp_in);
    keep(InputPart::kNeurons, ff_act);
  }
  const Mlp& mlp_at(const MlpPlace& place) const {
    const Layer& l = engine.model->weights().layers[place.layer];
    return place.is_dense()                    ? l.mlp
           : place.expert == LinearId::kShared ? l.experts.shared
                                               : l.experts.experts[place.expert];
  }
  void keep_gate(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act);
  void keep(InputPart part, MatView<const float> x) {
    for (size_t t = 0; t < x.rows; ++t)
      inputs[size_t(part)].insert(inputs[size_t(part)].end(), x.row(t).begin(), x.row(t).end());
  }

  void next();
  double error(const SelectorFamily& family, const CurvePoint& point, bool by_prompt);

  const Engine& engine;
  BlockWalk walk;
  std::vector<float> inputs[kNInputParts], magnitudes[kNInputParts];
  std::vector<float> gates, gate_magnitudes;  // of the layer's MLP, or of all its experts
};

void BlockProbe::Impl::next() {
  walk.next();
  for (auto& values : inputs) values.clear();
  gates.clear();
  walk.compute(this);
  gate_magnitudes = sorted_magnitudes(gates);
  for (size_t p = 0; p < kNInputParts; ++p) {
    magnitudes[p] = sorted_magnitudes(inputs[p]);
    inputs[p].clear();
  }
}

void BlockProbe::Impl::keep_gate(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) {
  const Mlp& m = mlp_at(place);
  const size_t first = gates.size();
  gates.resize(first + ff_act.rows * m.n_ff);
  const MatView<float> act(&gates[first], ff_act.rows, m.n_ff);
  if (!m.gate) return copy_rows(ff_act, act);
  const Arena::Scope scope(engine.compute->arena);
  m.gate->dot(*engine.compute, std::vector<TokenTraits>(act.rows), mlp_in, {}, act);
  activate_rows(*engine.compute, engine.config().layers[place.layer], act);
}

double BlockProbe::Impl::error(const SelectorFamily& family, const CurvePoint& point, bool by_prompt) {
  const auto plan = std::make_shared<Plan>();
  family.set(*plan, walk.layer(), point);
  const std::shared_ptr<const Plan> watching = plan;
  const size_t n_prompt = by_prompt ? walk.n_window() / 2 : 0;
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
std::span<const float> BlockProbe::gate_magnitudes() const { return impl_->gate_magnitudes; }
double BlockProbe::error(const SelectorFamily& family, const CurvePoint& point, bool by_prompt) {
  return impl_->error(family, point, by_prompt);
}

float magnitude_quantile(std::span<const float> magnitudes, double below) {
  const size_t n = std::min(magnitudes.size(), size_t(std::lround(below * double(magnitudes.size()))));
  return n == 0 ? -1.0f : magnitudes[n - 1];
}

}  // namespace hunch
