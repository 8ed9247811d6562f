// What ExpectedAttention keeps, against the paper's formulas in double precision.
#include "select/expected_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <numeric>

#include "kernels/ops.h"
#include "select/expected_attention.h"
#include "select/test_pages.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;
constexpr size_t kD = 16, kPairs = 6, kGroup = 2, kHeads = 2, kHead = kGroup * kHeads;

class Turns final : public KeyTurns {
 public:
  Turns(bool interleaved, double factor) : interleaved_(interleaved), factor_(factor) {}
  size_t n_pairs() const override { return kPairs; }
  bool interleaved() const override { return interleaved_; }
  static double angle(size_t position, size_t pair) {
    return double(position) * std::pow(50.0, -double(pair) / kPairs);
  }
  void at(size_t position, std::span<float> cos, std::span<float> sin) const override {
    for (size_t i = 0; i < kPairs; ++i) {
      cos[i] = float(factor_ * std::cos(angle(position, i)));
      sin[i] = float(factor_ * std::sin(angle(position, i)));
    }
  }
  const bool interleaved_;
  const double factor_;
};

// By hand: pair i is a complex number.
std::vector<double> turned(const std::vector<double>& x, bool interleaved,
                           const std::vector<std::complex<double>>& by) {
  std::vector<double> y = x;
  for (size_t i = 0; i < kPairs; ++i) {
    const size_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + kPairs;
    const std::complex<double> z = std::complex(x[a], x[b]) * by[i];
    y[a] = z.real(), y[b] = z.imag();
  }
  return y;
}

struct Text {
  Text(size_t n, bool interleaved, double factor, uint32_t seed)
      : rng(seed), cache(n, kHeads, kD, 8, DType::kF32, rng), turns(interleaved, factor) {
    std::normal_distribution<double> normal;
    params.scale = 0.3f;
    for (size_t t = 0; t < n; ++t) {
      std::vector<std::complex<double>> by;
      for (size_t i = 0; i < kPairs; ++i) by.push_back(factor * std::polar(1.0, Turns::angle(t, i)));
      for (size_t h = 0; h < kHead; ++h) {
        std::vector<double> q(kD);
        for (size_t i = 0; i < kD; ++i) q[i] = 0.5 * double(h) + (1 + 0.1 * double(i)) * normal(rng);
        before.push_back(q);
        for (const double v : turned(q, interleaved, by)) Q.push_back(float(v));
      }
    }
  }
  void read(KeyState& state, std::initializer_list<size_t> parts) const {
    size_t first = 0;
    for (const size_t n : parts) {
      const MatView<const float> all(Q.data() + first * kHead * kD, n, kHead * kD);
      const size_t shown = std::min(n, state.n_queries());
      state.see({0, 1, cache.view}, {all.row_range(n - shown, shown), kHead, first + n - shown, params, true,
                                     uses_rope ? &turns : nullptr});
      first += n;
    }
  }
  // The score of every slot of a KV head.
  std::vector<double> scores(size_t kv_head, const ExpectedKeysOptions& o) const {
    const size_t n = cache.view.n_tokens, first = std::max(n - std::min(n, o.queries), o.sinks);
    std::vector<double> all(n);
    std::vector<std::complex<double>> mean_turn(kPairs);
    for (size_t i = 0; i < kPairs; ++i)
      for (size_t f = 0; f < o.future; ++f)
        mean_turn[i] += turns.factor_ * std::polar(1.0, Turns::angle(n + f, i)) / double(o.future);
    for (size_t h = kv_head * kGroup; h < (kv_head + 1) * kGroup; ++h) {
      // Of turned queries: turning is linear, so that mean and covariance of the turned ones are the turned ones.
      std::vector<std::vector<double>> q;
      for (size_t t = first; t < n; ++t)
        q.push_back(uses_rope ? turned(before[t * kHead + h], turns.interleaved_, mean_turn)
                              : std::vector<double>(Q.begin() + ptrdiff_t((t * kHead + h) * kD),
                                                    Q.begin() + ptrdiff_t((t * kHead + h + 1) * kD)));
      std::vector<double> mean(kD), s(n);
      for (const auto& x : q)
        for (size_t i = 0; i < kD; ++i) mean[i] += x[i] / double(q.size());
      double max = -1e300, sum = 0;
      for (size_t j = o.sinks; j < n; ++j) {
        const std::vector<float> k = key_of(cache.view, kv_head, j);
        s[j] = params.scale * std::inner_product(mean.begin(), mean.end(), k.begin(), 0.0);
        for (const auto& x : q) {
          double off = 0;
          for (size_t i = 0; i < kD; ++i) off += (x[i] - mean[i]) * k[i];
          if (o.covariance) s[j] += off * off * params.scale * params.scale / 2 / double(q.size());
        }
        if (!params.alibi_slopes.empty()) s[j] += params.alibi_slopes[h] * double(j);
        max = std::max(max, s[j]);
      }
      for (size_t j = o.sinks; j < n; ++j) sum += s[j] = std::exp(s[j] - max);
      for (size_t j = o.sinks; j < n; ++j) all[j] += s[j] / sum / kGroup;
    }
    for (size_t j = 0; j < n && o.values; ++j) {
      KvView values = cache.view;  // whose keys are the values
      std::vector<const std::byte*> pages;
      for (const std::byte* page : values.pages) pages.push_back(page + values.v_offset_bytes);
      values.pages = pages;
      double squared = 0;
      for (const float v : key_of(values, kv_head, j)) squared += double(v) * v;
      all[j] *= std::sqrt(squared);
    }
    return all;
  }
  std::mt19937 rng;
  RandomCache cache;
  Turns turns;
  AttentionParams params;
  bool uses_rope = true;
  std::vector<std::vector<double>> before;  // [n * kHead] queries before RoPE
  std::vector<float> Q;
};

std::vector<Ids> kept_of(KeyState& state, const KeyPlace& place) {
  Compute compute(2);
  state.decide(compute, place);
  std::vector<Rows> rows(place.view.n_kv_head);
  state.keep(place, rows);
  std::vector<Ids> kept(rows.size());
  for (size_t head = 0; head < rows.size(); ++head)
    rows[head].for_each([&](size_t s) { kept[head].push_back(uint32_t(s)); });
  return kept;
}

void expect_keeps_best(const Text& text, const ExpectedKeysOptions& options, std::initializer_list<size_t> parts) {
  const ExpectedKeys keys(options);
  const auto state = keys.new_state();
  text.read(static_cast<KeyState&>(*state), parts);
  const std::vector<Ids> kept = kept_of(static_cast<KeyState&>(*state), {0, 1, text.cache.view});
  for (size_t head = 0; head < kHeads; ++head) {
    const std::vector<double> scores = text.scores(head, options);
    Ids want(scores.size() - options.sinks);
    std::iota(want.begin(), want.end(), uint32_t(options.sinks));
    std::ranges::stable_sort(want, std::greater<>(), [&](uint32_t j) { return scores[j]; });
    want.resize(options.budget - options.sinks);
    for (uint32_t s = 0; s < options.sinks; ++s) want.push_back(s);
    std::ranges::sort(want);
    EXPECT_EQ(kept[head], want) << "head " << head;
  }
}

TEST(ExpectedKeys, KeepsWhatThePaperKeeps) {
  expect_keeps_best(Text(90, false, 1, 1), {.budget = 30, .sinks = 4, .queries = 256, .future = 40}, {90});
  expect_keeps_best(Text(90, true, 1, 2), {.budget = 30, .sinks = 2, .queries = 50, .future = 7}, {40, 45, 5});
  expect_keeps_best(Text(70, false, 1.3, 3), {.budget = 20, .sinks = 0, .queries = 33, .future = 100}, {70});
  expect_keeps_best(Text(70, true, 1, 4), {.budget = 20, .sinks = 3, .queries = 33, .future = 10, .covariance = false},
                    {70});
  expect_keeps_best(Text(70, true, 1, 5), {.budget = 20, .sinks = 3, .queries = 33, .future = 10, .values = false},
                    {70});
  Text plain(60, false, 1, 6);
  plain.uses_rope = false;
  const std::vector<float> slopes = {0.01f, 0.02f, 0.04f, 0.08f};
  plain.params.alibi_slopes = slopes;
  expect_keeps_best(plain, {.budget = 20, .sinks = 1, .queries = 40, .future = 10}, {60});
}

TEST(ExpectedKeys, HeadsShareABudgetOut) {
  const Text text(80, false, 1, 7);
  const ExpectedKeys keys({.budget = 24, .sinks = 4, .queries = 64, .future = 20, .floor = 0.2});
  const auto state = keys.new_state();
  text.read(static_cast<KeyState&>(*state), {80});
  const std::vector<Ids> kept = kept_of(static_cast<KeyState&>(*state), {0, 1, text.cache.view});
  EXPECT_EQ(kept[0].size() + kept[1].size(), 48u);
  EXPECT_GE(std::min(kept[0].size(), kept[1].size()), 8u);
}

TEST(ExpectedKeys, WhatIsDecodedStaysAndShortPromptsDo) {
  const Text text(30, false, 1, 8);
  const ExpectedKeys keys({.budget = 10, .queries = 16, .future = 20});
  const auto made = keys.new_state();
  KeyState& state = static_cast<KeyState&>(*made);
  text.read(state, {30});
  EXPECT_EQ(kept_of(state, {0, 1, text.cache.view})[0].size(), 10u);
  EXPECT_EQ(kept_of(state, {0, 1, text.cache.view})[0].size(), 30u) << "after a decoded token";
  const Text small(10, false, 1, 9);
  state.truncate(0);
  small.read(state, {10});
  EXPECT_EQ(kept_of(state, {0, 1, small.cache.view})[0].size(), 10u);
}

TEST(ExpectedAttention, ATurnThatIsTurnedBackIsNone) {
  const Turns turns(true, 1.7);
  std::vector<float> cos(kPairs), sin(kPairs), q(kD);
  turns.at(123, cos, sin);
  for (size_t i = 0; i < kD; ++i) q[i] = float(i) - 4.5f;
  const std::vector<float> before = q;
  rope(q, cos, sin, true);
  turn_back(q, cos, sin, true);
  for (size_t i = 0; i < kD; ++i) EXPECT_NEAR(q[i], before[i], 1e-5);
}

}  // namespace
}  // namespace hunch
