#include "select/density_curve.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hunch {
namespace {

DensityCurve curve(std::vector<std::pair<float, float>> points) {
  DensityCurve out;
  for (auto [density, loss] : points) out.push_back({0, density, loss, 1});
  return out;
}

double density_of(std::span<const DensityCurve> curves, const std::vector<size_t>& chosen) {
  double sum = 0;
  for (size_t c = 0; c < curves.size(); ++c) sum += curves[c][chosen[c]].density;
  return sum / double(curves.size());
}

TEST(DensityCurve, HullDropsWhatAMixtureBeats) {
  const DensityCurve hull =
      lower_hull(curve({{1, 0}, {0.8f, 5}, {0.5f, 1}, {0.4f, 3}, {0.3f, 4}, {0.1f, 20}, {0.05f, NAN}}));
  std::vector<float> densities;
  for (const CurvePoint& p : hull) densities.push_back(p.density);
  EXPECT_EQ(densities, (std::vector<float>{1, 0.5f, 0.3f, 0.1f}));
}

TEST(DensityCurve, HullStartsAtTheSparsestPointThatLosesNothing) {
  const DensityCurve hull = lower_hull(curve({{1, 0}, {0.6f, 0}, {0.2f, 1}}));
  ASSERT_EQ(hull.size(), 2u);
  EXPECT_EQ(hull[0].density, 0.6f);
}

TEST(DensityCurve, ChoiceIsTheBestOfAllChoicesOfItsDensity) {
  const DensityCurve curves[] = {lower_hull(curve({{1, 0}, {0.5f, 0.1f}, {0.2f, 0.9f}, {0.1f, 3}})),
                                 lower_hull(curve({{1, 0}, {0.6f, 4}, {0.3f, 9}})),
                                 lower_hull(curve({{0.7f, 0}, {0.35f, 0.2f}, {0.1f, 0.5f}}))};
  for (double density : {1.0, 0.8, 0.6, 0.5, 0.3, 0.2}) {
    const std::vector<size_t> chosen = choose_points(curves, density);
    const double met = density_of(curves, chosen);
    EXPECT_LE(met, density + 1e-6);
    float loss = 0;
    for (size_t c = 0; c < 3; ++c) loss += curves[c][chosen[c]].loss;
    for (size_t a = 0; a < curves[0].size(); ++a)
      for (size_t b = 0; b < curves[1].size(); ++b)
        for (size_t c = 0; c < curves[2].size(); ++c) {
          if (density_of(curves, {a, b, c}) > met + 1e-9) continue;
          EXPECT_GE(curves[0][a].loss + curves[1][b].loss + curves[2][c].loss, loss - 1e-5f) << density;
        }
  }
}

TEST(DensityCurve, ABudgetBelowTheSparsestPointsGivesThese) {
  const DensityCurve curves[] = {curve({{1, 0}, {0.5f, 1}}), curve({{1, 0}})};
  EXPECT_EQ(choose_points(curves, 0.01), (std::vector<size_t>{1, 0}));
}

}  // namespace
}  // namespace hunch
