#include "compress/unit_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hunch {
namespace {

// The number of units nearest to n_kept that is a multiple, and at least one.
size_t rounded(const UnitSet& set, size_t n_kept) {
  const size_t n = set.scores.size(), m = set.multiple;
  if (n_kept == n || n <= m) return n_kept == n || m > 1 ? n : std::max<size_t>(1, n_kept);
  const size_t down = n_kept / m * m, up = down + m;
  const size_t nearest = n_kept - down < up - n_kept ? down : up;
  return std::clamp<size_t>(nearest, m, n);
}

std::vector<uint32_t> by_score(const UnitSet& set) {
  std::vector<uint32_t> order(set.scores.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return set.scores[a] > set.scores[b]; });
  return order;
}

uint64_t all_of(std::span<const UnitSet> sets) {
  uint64_t cost = 0;
  for (const UnitSet& set : sets) cost += set.cost * set.scores.size();
  return cost;
}

// How many units of each set stay when the `n_gone` least of all go, before rounding.
class Ranking {
 public:
  explicit Ranking(std::span<const UnitSet> sets) : sets_(sets) {
    for (size_t s = 0; s < sets.size(); ++s)
      for (size_t u = 0; u < sets[s].scores.size(); ++u) ranked_.push_back({sets[s].scores[u], s, u});
    std::ranges::sort(ranked_, [](const Ranked& a, const Ranked& b) {
      return a.score != b.score ? a.score < b.score : a.set != b.set ? a.set > b.set : a.unit > b.unit;
    });
  }
  size_t size() const { return ranked_.size(); }
  std::vector<size_t> kept(size_t n_gone) const {
    std::vector<size_t> n(sets_.size());
    for (size_t s = 0; s < n.size(); ++s) n[s] = sets_[s].scores.size();
    for (size_t i = 0; i < n_gone; ++i) --n[ranked_[i].set];
    for (size_t s = 0; s < n.size(); ++s) n[s] = rounded(sets_[s], n[s]);
    return n;
  }
  uint64_t gone(size_t n_gone) const {
    uint64_t cost = all_of(sets_);
    const std::vector<size_t> n = kept(n_gone);
    for (size_t s = 0; s < n.size(); ++s) cost -= sets_[s].cost * n[s];
    return cost;
  }

 private:
  struct Ranked {
    double score;
    size_t set, unit;
  };
  std::span<const UnitSet> sets_;
  std::vector<Ranked> ranked_;
};

std::vector<size_t> least_of_all(std::span<const UnitSet> sets, double share) {
  const Ranking ranking(sets);
  const double target = share * double(all_of(sets));
  if (double(ranking.gone(ranking.size())) < target)
    fail(ErrorKind::kUsage,
         "a sparsity of {:g} (sparsity): at most {:.3f} of the parameters of these units can go, since some of each "
         "layer stay",
         share, double(ranking.gone(ranking.size())) / double(std::max<uint64_t>(1, all_of(sets))));
  size_t too_few = 0, enough = ranking.size();
  while (too_few < enough) {
    const size_t middle = (too_few + enough) / 2;
    if (double(ranking.gone(middle)) >= target)
      enough = middle;
    else
      too_few = middle + 1;
  }
  return ranking.kept(enough);
}

}  // namespace

std::vector<std::vector<uint32_t>> choose_units(std::span<const UnitSet> sets, const UnitBudget& budget) {
  if (!(budget.share >= 0 && budget.share < 1))
    fail(ErrorKind::kUsage, "a sparsity of {} (sparsity): expected 0 to less than 1", budget.share);
  std::vector<size_t> n_kept;
  if (budget.uniform) {
    for (const UnitSet& set : sets)
      n_kept.push_back(rounded(set, size_t(std::llround(double(set.scores.size()) * (1 - budget.share)))));
  } else {
    n_kept = least_of_all(sets, budget.share);
  }
  std::vector<std::vector<uint32_t>> kept;
  for (size_t s = 0; s < sets.size(); ++s) {
    std::vector<uint32_t> best = by_score(sets[s]);
    best.resize(n_kept[s]);
    std::ranges::sort(best);
    kept.push_back(std::move(best));
  }
  return kept;
}

void standardise(std::span<double> scores) {
  if (scores.empty()) return;
  double mean = 0, variance = 0;
  for (const double s : scores) mean += s / double(scores.size());
  for (const double s : scores) variance += (s - mean) * (s - mean);
  const double deviation = scores.size() > 1 ? std::sqrt(variance / double(scores.size() - 1)) : 0;
  for (double& s : scores) s = deviation > 0 ? (s - mean) / deviation : 0;
}

}  // namespace hunch
