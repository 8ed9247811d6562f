#include <algorithm>

#include "compress/method.h"
#include "compress/teal.h"
#include "model/layer.h"

namespace hunch {
namespace {

constexpr double kDensities[] = {0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05};

double share_above(std::span<const float> magnitudes, float threshold) {
  const auto first = std::ranges::upper_bound(magnitudes, threshold);
  return double(magnitudes.end() - first) / double(magnitudes.size());
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

double bytes_of(const std::unique_ptr<Linear>& matrix) { return matrix ? double(matrix->bytes()) : 0; }

bool has_plain_rows(const Linear& matrix) {
  const WeightView rows = matrix.factor(Axis::kIn).rows();
  return rows && is_plain(rows.dtype);
}

double down_bytes(const Mlp& m, double density) {
  return bytes_of(m.down) * (m.down->reads_less_by_input(1) || has_plain_rows(*m.down) ? density : 1);
}

// Thresholds at percentiles of |act(gate)|.
class CatsMethod final : public Method {
 public:
  std::string_view name() const override { return "cats"; }
  MethodFit fit(BlockProbe& probe, const LayerConfig&) const override {
    const Cats cats;
    DensityCurve curve = {{-1, 1, 0, 1}};
    for (const double density : kDensities) {
      const float threshold = magnitude_quantile(probe.gate_magnitudes(), 1 - density);
      CurvePoint point{threshold, float(share_above(probe.gate_magnitudes(), threshold))};
      point.loss = float(probe.error(cats, point));
      curve.push_back(point);
    }
    curve = with_steps_between(hull_with_dense(std::move(curve)));
    for (size_t p = 1; p < curve.size(); ++p)
      curve[p].threshold = magnitude_quantile(probe.gate_magnitudes(), 1 - double(curve[p].density));
    return {std::move(curve), std::make_shared<const Cats>()};
  }
  double mlp_bytes(const Mlp& m, double density) const override {
    return (m.gate ? bytes_of(m.gate) + bytes_of(m.up) * density : bytes_of(m.up)) + down_bytes(m, density);
  }
};

// Shares of the neurons.
class GriffinMethod final : public Method {
 public:
  std::string_view name() const override { return "griffin"; }
  bool chooses_by_prompt() const override { return true; }
  MethodFit fit(BlockProbe& probe, const LayerConfig&) const override {
    const Griffin griffin;
    DensityCurve curve = {{-1, 1, 0, 1}};
    for (const double density : kDensities) {
      CurvePoint point{0, float(density)};
      point.loss = float(probe.error(griffin, point, true));
      curve.push_back(point);
    }
    return {with_steps_between(hull_with_dense(std::move(curve))), std::make_shared<const Griffin>()};
  }
  double mlp_bytes(const Mlp& m, double density) const override {
    return (bytes_of(m.gate) + bytes_of(m.up)) * density + down_bytes(m, density);
  }
};

class TealMethod final : public Method {
 public:
  std::string_view name() const override { return "teal"; }
  size_t n_sample_tokens() const override { return 256; }  // it tries many settings, and a large model is slow
  MethodFit fit(BlockProbe& probe, const LayerConfig& config) const override {
    TealFit fit = fit_teal(probe, config);
    return {std::move(fit.curve), std::make_shared<const Teal>(std::move(fit.inputs))};
  }
  double mlp_bytes(const Mlp& m, double density) const override { return share_of({&m.gate, &m.up, &m.down}, density); }
  double other_bytes(const Layer& layer, double density) const override {
    const Attention& a = layer.attention;
    return share_of({&a.q, &a.k, &a.v, &a.o}, density);
  }

 private:
  static double share_of(std::initializer_list<const std::unique_ptr<Linear>*> matrices, double density) {
    double sum = 0;
    for (const auto* matrix : matrices)
      if (*matrix) sum += bytes_of(*matrix) * (has_plain_rows(**matrix) ? density : 1);
    return sum;
  }
};

const CatsMethod kCats;
const GriffinMethod kGriffin;
const TealMethod kTeal;
const Method* const kMethods[] = {&kCats, &kGriffin, &kTeal};

}  // namespace

const Method* method_named(std::string_view name) {
  for (const Method* method : kMethods)
    if (method->name() == name) return method;
  return nullptr;
}

std::vector<std::string_view> method_names() {
  std::vector<std::string_view> names;
  for (const Method* method : kMethods) names.push_back(method->name());
  return names;
}

// The dense point, the curve's first, stays where the hull would do without it: a layer must be able to be left alone.
DensityCurve hull_with_dense(DensityCurve curve) {
  const CurvePoint dense = curve.front();
  curve = lower_hull(std::move(curve));
  if (curve.empty() || curve.front().density < 1) curve.insert(curve.begin(), dense);
  return curve;
}

}  // namespace hunch
