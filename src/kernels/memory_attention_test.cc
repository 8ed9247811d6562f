#include "kernels/memory_attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/half.h"
#include "kernels/each_target.h"

namespace hunch {
namespace {

struct Case {
  Case(size_t n, size_t d, size_t n_queries, bool gated, DType dtype, std::mt19937& rng) : n_queries(n_queries), d(d) {
    std::normal_distribution<float> normal;
    const size_t bytes = row_bytes(dtype, d);
    for (auto* rows : {&keys, &values}) {
      rows->resize(n * bytes);
      for (size_t j = 0; j < n; ++j) {
        std::vector<float> row(d);
        for (float& v : row) v = normal(rng);
        codec(dtype).encode(row.data(), rows->data() + j * bytes, d);
      }
    }
    memory = {{dtype, keys.data(), n, d, bytes}, {dtype, values.data(), n, d, bytes}};
    stride = d + 3;
    for (auto* rows : {&q, &out})
      for (size_t i = 0; i < n_queries * stride; ++i) rows->push_back(normal(rng));
    for (size_t t = 0; t < n_queries; ++t) {
      const bool sees_nothing = rng() % 5 == 0;
      max.push_back(sees_nothing ? -INFINITY : normal(rng));
      sum.push_back(sees_nothing ? 0.0f : 1 + float(rng() % 20));
      if (gated) gates.push_back(float(rng() % 5) / 4);
    }
    mix = {.top = 1 + rng() % 9, .scale = 1 / std::sqrt(float(d)), .gates = gates};
    if (rng() % 3 == 0) mix.soft_cap = 3;
  }
  template <class Attend>
  std::vector<float> run(const Attend& attend) const {
    std::vector<float> result = out;
    attend(MatView<const float>(q.data(), n_queries, d, stride), memory, mix, SoftmaxStats{max, sum},
           MatView<float>(result.data(), n_queries, d, stride));
    return result;
  }
  size_t n_queries, d, stride;
  std::vector<std::byte> keys, values;
  MemoryHead memory;
  std::vector<float> q, out, max, sum, gates;
  MemoryMix mix;
};

TEST(MemoryAttention, MatchesReferenceOnEveryTarget) {
  std::mt19937 rng(1);
  constexpr size_t kSizes[] = {1, 8, 17, 40, 64};
  for (size_t i = 0; i < 60; ++i) {
    const size_t n = i % 6 == 0 ? rng() % 3 : 1 + rng() % 300, d = kSizes[rng() % std::size(kSizes)];
    const Case c(n, d, 1 + rng() % 20, i % 2, i % 3 ? DType::kF16 : DType::kF32, rng);
    SCOPED_TRACE(fmt::format("case {}: {} memories of {}, top {}", i, n, d, c.mix.top));
    const std::vector<float> want = c.run(ref::attend_memory);
    const size_t n_threads = 1 + i % 3;
    for_each_target([&] {
      Compute compute(n_threads);
      const std::vector<float> got = c.run([&](auto&&... args) { attend_memory(compute, args...); });
      for (size_t j = 0; j < want.size(); ++j) ASSERT_NEAR(got[j], want[j], 1e-5) << j;
    });
  }
}

// Many memories: queries are computed in parts.
TEST(MemoryAttention, OfManyMemoriesMatchesReference) {
  std::mt19937 rng(2);
  const Case c(130000, 4, 9, false, DType::kF16, rng);
  Compute compute(2);
  const std::vector<float> want = c.run(ref::attend_memory);
  const std::vector<float> got = c.run([&](auto&&... args) { attend_memory(compute, args...); });
  for (size_t j = 0; j < want.size(); ++j) ASSERT_NEAR(got[j], want[j], 1e-5) << j;
}

TEST(MemoryAttention, AmongEqualsTheFirstAreRead) {
  const std::vector<float> keys(40, 1.0f), q = {1, 0, 0, 0};
  std::vector<float> values(40), out(4);
  for (size_t j = 0; j < 10; ++j) values[j * 4] = float(j);
  const MemoryHead memory{weight_view({keys.data(), 10, 4}), weight_view({values.data(), 10, 4})};
  const float max = -INFINITY, sum = 0;
  Compute compute(1);
  attend_memory(compute, {q.data(), 1, 4}, memory, {.top = 3}, {{&max, 1}, {&sum, 1}}, {out.data(), 1, 4});
  EXPECT_NEAR(out[0], 1.0f, 1e-6) << "the mean of 0, 1 and 2";
}

}  // namespace
}  // namespace hunch
