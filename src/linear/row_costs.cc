#include "linear/row_costs.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/timer.h"
#include "base/union.h"

namespace hunch {
namespace {

constexpr size_t kMostBytes = size_t{24} << 20;  // of a matrix that is timed: more than the caches of a core
constexpr size_t kRepeats = 3;

std::vector<float> some_values(size_t n) {
  std::mt19937 rng(1);
  std::vector<float> x(n);
  for (float& v : x) v = float(rng() % 2001) * 1e-3f - 1.0f;
  return x;
}

// Random rows of every token, so many that their union is about a share of all.
std::vector<Rows> random_rows(size_t n, size_t n_tokens, double union_share) {
  std::mt19937 rng(2);
  const double own_share = 1 - std::pow(1 - union_share, 1 / double(n_tokens));
  std::vector<Rows> own(n_tokens);
  std::geometric_distribution<uint32_t> gap(own_share);
  for (Rows& rows : own) {
    std::vector<uint32_t>& ids = rows.refill(n);
    for (size_t i = gap(rng); i < n; i += 1 + size_t(gap(rng))) ids.push_back(uint32_t(i));
  }
  return own;
}

// Both ends of a straight line.
struct Line {
  double call, row;
  Line(double n1, double seconds1, double n2, double seconds2) {
    row = n2 > n1 ? std::max(0.0, (seconds2 - seconds1) / (n2 - n1)) : 0.0;
    call = std::max(0.0, seconds1 - row * n1);
  }
};

}  // namespace

const char* name_of(RowProduct product) { return product == RowProduct::kDot ? "dot" : "add"; }

double RowCosts::seconds(RowPath path, size_t n_tokens, size_t n_own, size_t n_union) const {
  switch (path) {
    case RowPath::kOwn: return own_call * double(n_tokens) + own_row * double(n_own) + own_first * double(n_union);
    case RowPath::kUnion: return union_call + union_row * double(n_union);
    case RowPath::kAll: return all;
  }
  return all;
}

double RowCosts::union_break_even(size_t n) const {
  if (n == 0 || all <= union_call) return 0;
  return union_row > 0 ? std::min(1.0, (all - union_call) / (union_row * double(n))) : 1.0;
}

double RowCosts::own_break_even(size_t n, size_t n_tokens) const {
  const auto loses = [&](double share) {
    const double n_union = double(n) * (1 - std::pow(1 - share, double(n_tokens)));
    return own_call * double(n_tokens) + own_row * share * double(n * n_tokens) + own_first * n_union >= all;
  };
  if (n == 0 || loses(0)) return 0;
  if (!loses(1)) return 1;
  double low = 0, high = 1;
  while (high - low > 1e-4) (loses((low + high) / 2) ? high : low) = (low + high) / 2;
  return low;
}

RowPath fastest(const RowCosts& costs, std::span<const Rows> own, const Rows& any) {
  if (any.is_all()) return RowPath::kAll;
  size_t n_own = 0;
  for (const Rows& rows : own) n_own += rows.size();
  RowPath best = RowPath::kAll;
  for (const RowPath path : {RowPath::kUnion, RowPath::kOwn})
    if (costs.seconds(path, own.size(), n_own, any.size()) < costs.seconds(best, own.size(), n_own, any.size()))
      best = path;
  return best;
}

RowCosts measure_row_costs(Compute& compute, RowProduct product, std::span<const WeightView> like, size_t n_tokens) {
  HUNCH_CHECK(!like.empty() && like[0].rows > 0 && n_tokens > 0, "nothing to time");
  const size_t n_all = like[0].rows, cols = like[0].cols;
  const size_t n = std::min(n_all, std::max<size_t>(64, kMostBytes / std::max<size_t>(1, like[0].row_stride_bytes)));
  const bool dots = product == RowProduct::kDot;
  const std::vector<float> in = some_values(n_tokens * std::max(cols, n));
  std::vector<float> out(n_tokens * (dots ? n : cols)), zeroed;

  struct Point {
    std::vector<Rows> own;
    Rows any;
    ChosenRows rows;
    double seconds;
  };
  enum { kDense, kUnionSmall, kUnionLarge, kOwnSmall, kOwnLarge, kOwnShared, kPoints };
  Point points[kPoints];
  double n_own[kPoints] = {}, n_union[kPoints] = {};
  for (size_t i = 0; i < kPoints; ++i) {
    Point& p = points[i];
    p.own = random_rows(n, n_tokens, i == kUnionSmall || i == kOwnSmall ? 0.2 : 0.6);
    if (i == kOwnShared) std::fill(p.own.begin() + 1, p.own.end(), p.own[0]);
    select_union(p.own, p.any);
    p.rows = {p.own, &p.any,
              i == kDense || p.any.is_all() ? RowPath::kAll
              : i < kOwnSmall               ? RowPath::kUnion
                                            : RowPath::kOwn};
    p.seconds = INFINITY;
    for (const Rows& rows : p.own) n_own[i] += double(rows.size());
    n_union[i] = double(p.any.size());
  }
  for (size_t repeat = 0, at = 0; repeat < kRepeats; ++repeat)
    for (Point& p : points) {
      const WeightView W = like[at++ % like.size()].row_range(0, n);
      if (dots) {
        const Timer timer;
        dot_chosen(compute, W, {}, p.rows, {in.data(), n_tokens, cols}, {out.data(), n_tokens, n});
        p.seconds = std::min(p.seconds, timer.seconds());
        continue;
      }
      zeroed.assign(n_tokens * n, 0.0f);
      for (size_t t = 0; t < n_tokens; ++t)
        for (const uint32_t id : p.own[t].ids()) zeroed[t * n + id] = in[t * n + id];
      const Timer timer;
      add_chosen(compute, W, {}, p.rows, {zeroed.data(), n_tokens, n}, {out.data(), n_tokens, cols});
      p.seconds = std::min(p.seconds, timer.seconds());
    }

  const Line together(n_union[kUnionSmall], points[kUnionSmall].seconds, n_union[kUnionLarge],
                      points[kUnionLarge].seconds);
  // What the shared rows saved they saved by being fewer to read from memory.
  const double fewer = n_union[kOwnLarge] - n_union[kOwnShared];
  const double seconds =
      points[kOwnLarge].seconds - points[kOwnShared].seconds * n_own[kOwnLarge] / std::max(1.0, n_own[kOwnShared]);
  const double first = fewer > 0 ? std::max(0.0, seconds / fewer) : 0.0;
  const Line alone(n_own[kOwnSmall], points[kOwnSmall].seconds - first * n_union[kOwnSmall], n_own[kOwnLarge],
                   points[kOwnLarge].seconds - first * n_union[kOwnLarge]);
  return {alone.call / double(n_tokens),
          alone.row,
          first,
          together.call,
          together.row,
          points[kDense].seconds * double(n_all) / double(n)};
}

}  // namespace hunch
