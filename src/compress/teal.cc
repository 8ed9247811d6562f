#include "compress/teal.h"

#include <algorithm>
#include <limits>

namespace hunch {

std::array<double, kNInputParts> part_sizes(const LayerConfig& c) {
  const double n_q = double(c.n_head * c.d_head), n_kv = double(c.n_kv_head * c.d_head), d = double(c.n_embd);
  double ff = c.has_experts() && !c.moe.beside_mlp ? 0.0 : double(c.n_ff);
  if (c.has_experts()) ff += double(c.moe.n_expert_used * c.moe.n_ff + c.moe.n_ff_shared);
  return {d * (n_q + 2 * n_kv), n_q * d, d * ff * (c.gated ? 2 : 1), ff * d};
}

TealFit fit_teal(BlockProbe& probe, const LayerConfig& config) {
  constexpr double kStep = 0.05, kMost = 0.9;
  const std::array<double, kNInputParts> sizes = part_sizes(config);
  const double largest = std::ranges::max(sizes);
  double total = 0;
  for (double s : sizes) total += s;
  std::array<double, kNInputParts> sparsity{};
  const auto next_of = [&](size_t p) { return std::min(kMost, sparsity[p] + kStep * largest / sizes[p]); };
  const auto inputs_at = [&](const std::array<double, kNInputParts>& s) {
    Teal::Inputs inputs;
    for (size_t p = 0; p < kNInputParts; ++p)
      inputs[p] = s[p] > 0 ? magnitude_quantile(probe.magnitudes(InputPart(p)), s[p]) : -1.0f;
    return inputs;
  };
  DensityCurve path = {{0, 1, 0, 1}};  // threshold: where its `inputs` are
  std::vector<Teal::Inputs> inputs = {{-1, -1, -1, -1}};
  struct Candidate {
    double rise = -std::numeric_limits<double>::infinity();  // of the error per weight left out
    double error = 0;
    bool fresh = false;
  };
  std::array<Candidate, kNInputParts> candidates;
  double error = 0;
  for (;;) {
    size_t best = kNInputParts;
    for (size_t p = 0; p < kNInputParts; ++p)
      if (sparsity[p] < kMost - 1e-9 && (best == kNInputParts || candidates[p].rise < candidates[best].rise)) best = p;
    if (best == kNInputParts) break;
    Candidate& candidate = candidates[best];
    if (!candidate.fresh) {
      std::array<double, kNInputParts> tried = sparsity;
      tried[best] = next_of(best);
      candidate.error = probe.error(Teal({inputs_at(tried)}), {});
      candidate.rise = (candidate.error - error) / ((tried[best] - sparsity[best]) * sizes[best]);
      candidate.fresh = true;
      continue;
    }
    sparsity[best] = next_of(best);
    error = candidate.error;
    for (Candidate& c : candidates) c.fresh = false;
    double left = 0;
    for (size_t p = 0; p < kNInputParts; ++p) left += sizes[p] * (1 - sparsity[p]);
    path.push_back({float(path.size()), float(left / total), float(error), 1});
    inputs.push_back(inputs_at(sparsity));
  }
  TealFit fit{hull_with_dense(std::move(path)), {}};
  for (CurvePoint& point : fit.curve) {
    fit.inputs.push_back(inputs[size_t(point.threshold)]);
    point.threshold = 0;
  }
  return fit;
}

}  // namespace hunch
