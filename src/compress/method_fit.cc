#include "compress/method_fit.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace hunch {
namespace {

constexpr double kDensities[] = {0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05};

double share_above(std::span<const float> magnitudes, float threshold) {
  const auto first = std::ranges::upper_bound(magnitudes, threshold);
  return double(magnitudes.end() - first) / double(magnitudes.size());
}

// The dense point, the curve's first, stays where the hull would do without it: a layer must be able to be left alone.
DensityCurve hull_with_dense(DensityCurve curve) {
  const CurvePoint dense = curve.front();
  curve = lower_hull(std::move(curve));
  if (curve.empty() || curve.front().density < 1) curve.insert(curve.begin(), dense);
  return curve;
}

// Points between those of the hull, as near as kSpacing: a budget is then met closely. Along an edge the loss is taken
// to be linear, which overstates it.
DensityCurve with_steps_between(const DensityCurve& hull) {
  constexpr float kSpacing = 0.02f;
  DensityCurve out;
  for (size_t p = 0; p < hull.size(); ++p) {
    if (p > 0) {
      const CurvePoint &a = hull[p - 1], &b = hull[p];
      const int n = int((a.density - b.density) / kSpacing);
      for (int i = 1; i < n; ++i) {
        const float share = float(i) / float(n);
        out.push_back({0, a.density + (b.density - a.density) * share, a.loss + (b.loss - a.loss) * share, 1});
      }
    }
    out.push_back(hull[p]);
  }
  return out;
}

}  // namespace

std::array<double, kNInputParts> part_sizes(const LayerConfig& c) {
  const double n_q = double(c.n_head * c.d_head), n_kv = double(c.n_kv_head * c.d_head), d = double(c.n_embd),
               ff = double(c.n_ff);
  return {d * (n_q + 2 * n_kv), n_q * d, d * ff * (c.gated ? 2 : 1), ff * d};
}

MethodFit fit_teal(BlockProbe& probe, const LayerConfig& config) {
  constexpr double kStep = 0.05, kMost = 0.9;
  const std::array<double, kNInputParts> sizes = part_sizes(config);
  const double largest = std::ranges::max(sizes);
  double total = 0;
  for (double s : sizes) total += s;
  std::array<double, kNInputParts> sparsity{};
  const auto next_of = [&](size_t p) { return std::min(kMost, sparsity[p] + kStep * largest / sizes[p]); };
  const auto setting_of = [&](const std::array<double, kNInputParts>& s) {
    MethodPoint setting;
    setting.method = Method::kTeal;
    for (size_t p = 0; p < kNInputParts; ++p)
      setting.inputs[p] = s[p] > 0 ? magnitude_quantile(probe.magnitudes(InputPart(p)), s[p]) : -1.0f;
    return setting;
  };
  DensityCurve path = {{0, 1, 0, 1}};  // threshold: where its `inputs` are
  std::vector<std::array<float, kNInputParts>> inputs = {{-1, -1, -1, -1}};
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
      candidate.error = probe.error(setting_of(tried));
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
    inputs.push_back(setting_of(sparsity).inputs);
  }
  MethodFit fit{hull_with_dense(std::move(path)), {}};
  for (CurvePoint& point : fit.curve) {
    fit.inputs.push_back(inputs[size_t(point.threshold)]);
    point.threshold = 0;
  }
  return fit;
}

MethodFit fit_method(BlockProbe& probe, const LayerConfig& config, Method method) {
  if (method == Method::kTeal) return fit_teal(probe, config);
  MethodFit fit;
  fit.curve.push_back({-1, 1, 0, 1});
  for (double density : kDensities) {
    MethodPoint setting;
    setting.method = method;
    setting.density = float(density);
    if (method == Method::kCats) {
      setting.threshold = magnitude_quantile(probe.gate_magnitudes(), 1 - density);
      setting.density = float(share_above(probe.gate_magnitudes(), setting.threshold));
    }
    fit.curve.push_back({setting.threshold, setting.density, float(probe.error(setting)), 1});
  }
  fit.curve = with_steps_between(hull_with_dense(std::move(fit.curve)));
  for (size_t p = 1; p < fit.curve.size() && method == Method::kCats; ++p)
    fit.curve[p].threshold = magnitude_quantile(probe.gate_magnitudes(), 1 - double(fit.curve[p].density));
  return fit;
}

}  // namespace hunch
