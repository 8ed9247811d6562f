#include "select/density_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace hunch {
namespace {

// Loss per density given up by the step from point i to point i + 1.
double price(const DensityCurve& curve, size_t i) {
  const double saved = double(curve[i].density) - double(curve[i + 1].density);
  return (double(curve[i + 1].loss) - double(curve[i].loss)) / saved;
}

}  // namespace

DensityCurve lower_hull(DensityCurve curve) {
  std::erase_if(curve, [](const CurvePoint& p) { return !std::isfinite(p.loss) || !std::isfinite(p.density); });
  std::ranges::stable_sort(curve, [](const CurvePoint& a, const CurvePoint& b) {
    return a.density != b.density ? a.density > b.density : a.loss < b.loss;
  });
  DensityCurve hull;
  for (const CurvePoint& p : curve) {
    if (!hull.empty() && p.density == hull.back().density) continue;
    // A sparser point that loses no more makes the denser ones pointless.
    while (!hull.empty() && p.loss <= hull.back().loss) hull.pop_back();
    hull.push_back(p);
    while (hull.size() >= 3 && price(hull, hull.size() - 3) >= price(hull, hull.size() - 2)) hull.erase(hull.end() - 2);
  }
  return hull;
}

std::vector<size_t> choose_points(std::span<const DensityCurve> curves, double density) {
  std::vector<size_t> chosen(curves.size(), 0);
  double sum = 0;
  for (const DensityCurve& curve : curves) {
    HUNCH_CHECK(!curve.empty());
    sum += curve[0].density;
  }
  // On convex curves, taking the cheapest step again and again is optimal at every density that it meets.
  while (sum > density * double(curves.size()) + 1e-9) {
    size_t best = curves.size();
    double least = std::numeric_limits<double>::infinity();
    for (size_t c = 0; c < curves.size(); ++c)
      if (chosen[c] + 1 < curves[c].size() && price(curves[c], chosen[c]) < least) {
        least = price(curves[c], chosen[c]);
        best = c;
      }
    if (best == curves.size()) break;
    sum -= double(curves[best][chosen[best]].density);
    sum += double(curves[best][++chosen[best]].density);
  }
  return chosen;
}

}  // namespace hunch
