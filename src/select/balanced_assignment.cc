#include "select/balanced_assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/sigmoid.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr uint32_t kNone = ~0u;
constexpr double kFar = std::numeric_limits<double>::infinity();

// The best pair of a free token and an expert with room, again and again; leaves assigned tokens alone.
void assign_greedily(MatView<const float> scores, size_t capacity, std::vector<uint32_t>& expert) {
  std::vector<size_t> load(scores.cols);
  std::vector<std::tuple<float, uint32_t, uint32_t>> pairs;
  for (uint32_t t = 0; t < scores.rows; ++t) {
    if (expert[t] != kNone) ++load[expert[t]];
    for (uint32_t e = 0; e < scores.cols && expert[t] == kNone; ++e) pairs.emplace_back(-scores.row(t)[e], t, e);
  }
  std::ranges::sort(pairs);
  for (const auto& [cost, t, e] : pairs)
    if (expert[t] == kNone && load[e] < capacity) {
      expert[t] = e;
      ++load[e];
    }
}

// Tokens are added one by one; each may push others from expert to expert, along the cheapest path to one with room
// (Dijkstra's algorithm over experts, with prices that keep the reduced costs non-negative).
void assign_optimally(MatView<const float> scores, size_t capacity, std::vector<uint32_t>& expert) {
  const size_t n_expert = scores.cols;
  std::vector<double> price(n_expert), distance(n_expert);
  std::vector<uint32_t> from(n_expert),
      moved(n_expert);  // the path to expert e moves token `moved[e]` out of `from[e]`
  std::vector<size_t> load(n_expert);
  std::vector<bool> done(n_expert);
  for (uint32_t token = 0; token < scores.rows; ++token) {
    for (size_t e = 0; e < n_expert; ++e) distance[e] = -double(scores.row(token)[e]) - price[e];
    const double nearest = *std::ranges::min_element(distance);
    for (double& d : distance) d -= nearest;
    std::ranges::fill(from, kNone);
    std::ranges::fill(moved, token);
    done.assign(n_expert, false);

    uint32_t end = kNone;
    while (end == kNone) {
      uint32_t e = kNone;
      for (uint32_t f = 0; f < n_expert; ++f)
        if (!done[f] && (e == kNone || distance[f] < distance[e])) e = f;
      done[e] = true;
      if (load[e] < capacity) {
        end = e;
        break;
      }
      for (uint32_t u = 0; u < token; ++u) {
        if (expert[u] != e) continue;
        for (uint32_t f = 0; f < n_expert; ++f) {
          if (done[f]) continue;
          const double cost = double(scores.row(u)[e]) - double(scores.row(u)[f]) + price[e] - price[f];
          if (const double d = distance[e] + std::max(0.0, cost); d < distance[f]) {
            distance[f] = d;
            from[f] = e;
            moved[f] = u;
          }
        }
      }
    }
    for (size_t e = 0; e < n_expert; ++e) price[e] += std::min(distance[e], distance[end]);
    ++load[end];
    for (uint32_t e = end; e != kNone; e = from[e]) expert[moved[e]] = e;
  }
}

// In each round every expert wants the `capacity` tokens that are worth most to it at present prices, and bids for each
// what separates it from the best token it does not want; the highest bid wins the token and raises its price.
void assign_by_auction(MatView<const float> scores, size_t capacity, std::vector<uint32_t>& expert) {
  constexpr int kMaxHeldRounds = 100, kMaxRounds = 10000;
  const size_t n_expert = scores.cols, n_real = scores.rows, n_tokens = capacity * n_expert;
  float lowest = scores.row(0)[0], highest = lowest;
  for (size_t t = 0; t < n_real; ++t)
    for (float s : scores.row(t)) std::tie(lowest, highest) = std::pair(std::min(lowest, s), std::max(highest, s));
  const float increment = std::max((highest - lowest) / 50, 1e-4f);
  // Tokens that fill up the last places are worth the same to everyone.
  const auto score_of = [&](size_t e, size_t t) { return t < n_real ? scores.row(t)[e] : lowest; };

  std::vector<float> value(n_expert * n_tokens), price(n_tokens), best_bid(n_tokens);
  std::vector<uint32_t> wanted(n_expert * n_tokens), bidder(n_tokens, kNone);
  for (size_t e = 0; e < n_expert; ++e)
    for (size_t t = 0; t < n_tokens; ++t) value[e * n_tokens + t] = score_of(e, t);
  for (int round = 0; round < kMaxRounds; ++round) {
    std::ranges::fill(best_bid, 0.0f);
    const std::vector<uint32_t> holder = std::exchange(bidder, std::vector<uint32_t>(n_tokens, kNone));
    for (uint32_t e = 0; e < n_expert; ++e) {
      const auto worth = std::span(value).subspan(e * n_tokens, n_tokens);
      const auto order = std::span(wanted).subspan(e * n_tokens, n_tokens);
      std::iota(order.begin(), order.end(), 0u);
      std::ranges::partial_sort(order, order.begin() + ptrdiff_t(capacity) + 1, {},
                                [&](uint32_t t) { return std::pair(-worth[t], t); });
      const auto bid = [&](uint32_t t, float amount) {
        if (amount > best_bid[t]) {
          best_bid[t] = amount;
          bidder[t] = e;
        }
      };
      const float next_best = worth[order[capacity]];
      // Who holds a token keeps it for the least bid, until another bids more.
      const auto holds = [&](uint32_t t) { return holder[t] == e && round < kMaxHeldRounds; };
      for (uint32_t t : order.first(capacity))
        if (!holds(t)) bid(t, worth[t] - next_best + increment);
      for (uint32_t t = 0; t < n_tokens; ++t)
        if (holds(t)) bid(t, increment);
    }
    if (std::ranges::find(bidder, kNone) == bidder.end()) break;  // every token is sold
    for (size_t t = 0; t < n_tokens; ++t) price[t] += best_bid[t];
    for (size_t e = 0; e < n_expert; ++e)
      for (size_t t = 0; t < n_tokens; ++t) value[e * n_tokens + t] = score_of(e, t) - price[t];
    for (size_t t = 0; t < n_tokens; ++t)
      if (bidder[t] != kNone)
        value[bidder[t] * n_tokens + t] = round < kMaxHeldRounds ? highest : score_of(bidder[t], t);
  }
  for (uint32_t e = 0; e < n_expert; ++e)
    for (uint32_t t : std::span(wanted).subspan(e * n_tokens, capacity))
      if (t < n_real && expert[t] == kNone) expert[t] = e;
  // Where bids tie, or the auction had to be stopped, a token may be left.
  assign_greedily(scores, capacity, expert);
}

}  // namespace

void assign_balanced(MatView<const float> scores, Balance balance, std::vector<uint32_t>& expert) {
  expert.assign(scores.rows, kNone);
  if (scores.rows == 0) return;
  HUNCH_CHECK(scores.cols >= 1);
  const size_t capacity = (scores.rows + scores.cols - 1) / scores.cols;
  if (balance == Balance::kOptimal) return assign_optimally(scores, capacity, expert);
  if (balance == Balance::kAuction && scores.cols > 1) return assign_by_auction(scores, capacity, expert);
  assign_greedily(scores, capacity, expert);
}

void choose_balanced(MatView<const float> scores, Balance balance, ExpertChoices& out) {
  out.resize(scores.rows, scores.cols, 1);
  assign_balanced(scores, balance, out.expert);
  for (size_t t = 0; t < scores.rows; ++t) out.weight[t] = sigmoid(scores.row(t)[out.expert[t]]);
}

size_t sinkhorn(MatView<const float> logits, MatView<float> balanced, double tolerance) {
  constexpr size_t kMaxRounds = 1000;
  constexpr double kEps = 1e-8;  // Megatron's
  const size_t n_tokens = logits.rows, n_expert = logits.cols;
  HUNCH_CHECK(n_expert >= 1 && balanced.rows == n_tokens && balanced.cols == n_expert);
  std::vector<double> mass(n_tokens * n_expert), row_factor(n_tokens), column_factor(n_expert, 1.0), sums(n_expert);
  for (size_t t = 0; t < n_tokens; ++t) {
    const float largest = *std::ranges::max_element(logits.row(t));
    for (size_t e = 0; e < n_expert; ++e) mass[t * n_expert + e] = std::exp(double(logits.row(t)[e]) - largest);
  }
  double change = kFar;
  size_t round = 0;
  for (; change > tolerance && round < kMaxRounds; ++round) {
    std::ranges::fill(sums, 0.0);
    for (size_t t = 0; t < n_tokens; ++t) {
      const double* row = &mass[t * n_expert];
      double sum = 0;
      for (size_t e = 0; e < n_expert; ++e) sum += column_factor[e] * row[e];
      row_factor[t] = 1.0 / double(n_tokens) / (sum + kEps);
      for (size_t e = 0; e < n_expert; ++e) sums[e] += row_factor[t] * row[e];
    }
    change = 0;
    for (size_t e = 0; e < n_expert; ++e) {
      const double factor = 1.0 / double(n_expert) / (sums[e] + kEps);
      change += std::fabs(factor - column_factor[e]) / double(n_expert);
      column_factor[e] = factor;
    }
  }
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t e = 0; e < n_expert; ++e)
      balanced.row(t)[e] = float(row_factor[t] * mass[t * n_expert + e] * column_factor[e]);
  return round;
}

void choose_from_sinkhorn(MatView<float> logits, MatView<const float> balanced, size_t k, ExpertChoices& out) {
  HUNCH_CHECK(k <= logits.cols && balanced.rows == logits.rows && balanced.cols == logits.cols);
  out.resize(logits.rows, logits.cols, k);
  for (size_t t = 0; t < logits.rows; ++t) {
    const auto row = logits.row(t);
    if (k == 1) {
      std::ranges::transform(row, row.begin(), sigmoid);
    } else {
      softmax(row);
    }
    const auto expert = std::span(out.expert).subspan(t * k, k);
    best_of(balanced.row(t), expert);
    for (size_t i = 0; i < k; ++i) out.weight[t * k + i] = row[expert[i]];
  }
}

}  // namespace hunch
