#include "compress/matrix/prune_mask.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hunch {
namespace {

// Places of `scores` by rising score, the first of equal ones first.
std::vector<uint32_t> rising(std::span<const float> scores) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, {}, [&](uint32_t i) { return scores[i]; });
  return order;
}

size_t n_pruned(double share, size_t n) {
  HUNCH_CHECK(share >= 0 && share < 1, "share {}", share);
  return size_t(double(n) * share);
}

// A row's scores in order and their running sums.
struct SortedRow {
  std::vector<float> scores;
  std::vector<double> sums;
};

// Returns the share of the matrix that `alpha` prunes.
double mask_by_mass(const Matrix& score, const std::vector<SortedRow>& rows, double alpha, Mask& mask) {
  size_t n = 0;
  for (size_t r = 0; r < score.rows; ++r) {
    const SortedRow& row = rows[r];
    const size_t n_below = size_t(std::ranges::upper_bound(row.sums, alpha * row.sums.back()) - row.sums.begin());
    for (size_t c = 0; c < score.cols; ++c) {
      const bool pruned = n_below > 0 && score.row(r)[c] <= row.scores[n_below - 1];
      mask[r * score.cols + c] = pruned;
      n += pruned;
    }
  }
  return double(n) / double(mask.size());
}

}  // namespace

Matrix magnitude_score(const Matrix& W) {
  Matrix score = W;
  for (float& v : score.values) v = std::abs(v);
  return score;
}

Matrix wanda_score(const Matrix& W, const std::vector<float>& squares) {
  HUNCH_CHECK(squares.size() == W.cols, "{} inputs, W has {}", squares.size(), W.cols);
  Matrix score = magnitude_score(W);
  std::vector<float> norms(squares);
  for (float& v : norms) v = std::sqrt(v);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; ++c) score.row(r)[c] *= norms[c];
  return score;
}

Mask prune_rows(const Matrix& score, double share) {
  Mask mask(score.values.size());
  const size_t n = n_pruned(share, score.cols);
  for (size_t r = 0; r < score.rows; ++r) {
    const std::vector<uint32_t> order = rising(score.row(r));
    for (size_t i = 0; i < n; ++i) mask[r * score.cols + order[i]] = 1;
  }
  return mask;
}

Mask prune_matrix(const Matrix& score, double share) {
  std::vector<float> sorted = score.values;
  const auto at = sorted.begin() + ptrdiff_t(n_pruned(share, sorted.size()));
  std::ranges::nth_element(sorted, at);
  Mask mask(score.values.size());
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = score.values[i] <= *at;
  return mask;
}

void check_pattern(size_t pruned, size_t m, size_t n_in) {
  if (pruned == 0 || pruned >= m)
    fail(ErrorKind::kUsage, "a pattern prunes {} of {} neighbours; expected at least 1 and not all", pruned, m);
  if (n_in % m != 0) fail(ErrorKind::kUsage, "runs of {} weights do not divide the {} inputs of a matrix", m, n_in);
}

Mask prune_pattern(const Matrix& score, size_t pruned, size_t m) {
  check_pattern(pruned, m, score.cols);
  Mask mask(score.values.size());
  for (size_t i = 0; i < mask.size(); i += m) {
    const std::vector<uint32_t> order = rising(std::span(score.values).subspan(i, m));
    for (size_t k = 0; k < pruned; ++k) mask[i + order[k]] = 1;
  }
  return mask;
}

Mask prune_by_mass(const Matrix& score, double share) {
  constexpr double kClose = 0.001;
  std::vector<SortedRow> rows(score.rows);
  for (size_t r = 0; r < score.rows; ++r) {
    rows[r].scores.assign(score.row(r).begin(), score.row(r).end());
    std::ranges::sort(rows[r].scores);
    double sum = 0;
    for (float v : rows[r].scores) rows[r].sums.push_back(sum += v);
  }
  Mask mask(score.values.size());
  double low = 0, high = 0.8, alpha = 0.4, found = mask_by_mass(score, rows, alpha, mask);
  while (std::abs(found - share) > kClose && high - low >= kClose) {
    (found > share ? high : low) = alpha;
    alpha = (low + high) / 2;
    found = mask_by_mass(score, rows, alpha, mask);
  }
  return mask;
}

void apply_mask(const Mask& mask, Matrix& W) {
  HUNCH_CHECK(mask.size() == W.values.size());
  for (size_t i = 0; i < mask.size(); ++i)
    if (mask[i]) W.values[i] = 0;
}

}  // namespace hunch
