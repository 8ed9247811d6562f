// What a predictor offers: for each threshold, how many neurons it keeps and what is lost. And the choice of
// a point for every layer under one budget.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace hunch {

struct CurvePoint {
  float threshold = 0;  // of the score
  float density = 1;    // mean share of the neurons that lie above it
  float loss = 0;       // what leaving the others out costs; of the layers of one model, in one unit
  float recall = 1;     // share of the active neurons that lie above it
};

// Points in order of falling density; the first is usually "everything".
using DensityCurve = std::vector<CurvePoint>;

// The points of the lower convex hull of (density, loss), in order of falling density: where no mixture of
// two others has less loss at the same density. Points with a loss that is not finite are dropped.
DensityCurve lower_hull(DensityCurve curve);

// For every curve the index of one point, so that the sum of the losses is least at a mean density of at most
// `density` (Lagrangian: every layer gives up density as long as it costs less per neuron than elsewhere).
// Where even the sparsest points are denser than asked, these are chosen.
//
//   curves   lower hulls, none empty
//   density  of the mean over the curves, each weighing the same
std::vector<size_t> choose_points(std::span<const DensityCurve> curves, double density);

}  // namespace hunch
