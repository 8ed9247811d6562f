#include "linear/chosen_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/union.h"
#include "formats/format.h"
#include "kernels/gather.h"
#include "linear/row_costs.h"

namespace hunch {
namespace {

std::vector<float> values(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<float> x(n);
  for (float& v : x) v = float(rng() % 2001) * 1e-3f - 1.0f;
  return x;
}

struct Weights {
  std::vector<std::byte> bytes;
  WeightView view;
  Weights(DType dtype, size_t rows, size_t cols)
      : bytes(rows * row_bytes(dtype, cols)), view{dtype, bytes.data(), rows, cols, row_bytes(dtype, cols)} {
    const std::vector<float> x = values(rows * cols, 4);
    for (size_t r = 0; r < rows; ++r) codec(dtype).encode(&x[r * cols], bytes.data() + r * view.row_stride_bytes, cols);
  }
};

// Every token some rows of its own, none for the second.
std::vector<Rows> some_rows(size_t n_tokens, size_t n, size_t every) {
  std::mt19937 rng(uint32_t(n_tokens * 100 + every));
  std::vector<Rows> own(n_tokens);
  for (size_t t = 0; t < n_tokens; ++t) {
    std::vector<uint32_t>& ids = own[t].refill(n);
    for (uint32_t i = 0; t != 1 && i < n; ++i)
      if (rng() % every == 0) ids.push_back(i);
  }
  return own;
}

bool has(const Rows& rows, uint32_t id) { return rows.is_all() || std::ranges::binary_search(rows.ids(), id); }

void expect_products(Compute& compute, DType dtype, size_t n_tokens, size_t every) {
  constexpr size_t kRows = 150, kCols = 64;
  const Weights W(dtype, kRows, kCols);
  const std::vector<Rows> own = some_rows(n_tokens, kRows, every);
  Rows any;
  select_union(own, any);
  const std::vector<float> x = values(n_tokens * kCols, 1), bias = values(kRows, 2), out_bias = values(kCols, 3);
  std::vector<float> a = values(n_tokens * kRows, 5), unread = a;
  for (size_t t = 0; t < n_tokens; ++t)
    for (uint32_t i = 0; i < kRows; ++i)
      if (!has(own[t], i)) a[t * kRows + i] = 0, unread[t * kRows + i] = NAN;
  for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll})
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(std::string(name_of(path)) + ", " + std::string(name_of(dtype)) + ", tokens " +
                   std::to_string(n_tokens) + ", one row of " + std::to_string(every));
      const ChosenRows rows{own, &any, path};
      std::vector<float> y(n_tokens * kRows, 777.0f), z(n_tokens * kCols, 777.0f);
      dot_chosen(compute, W.view, biased ? std::span<const float>(bias) : std::span<const float>(), rows,
                 {x.data(), n_tokens, kCols}, {y.data(), n_tokens, kRows});
      add_chosen(compute, W.view, biased ? std::span<const float>(out_bias) : std::span<const float>(), rows,
                 {path == RowPath::kAll ? a.data() : unread.data(), n_tokens, kRows}, {z.data(), n_tokens, kCols});
      for (size_t t = 0; t < n_tokens; ++t) {
        std::vector<uint32_t> ids(kRows);
        for (uint32_t i = 0; i < kRows; ++i) ids[i] = i;
        std::vector<float> dots(kRows), sum(kCols);
        if (biased) sum = out_bias;
        ref::gather_dot(W.view, ids, std::span(x).subspan(t * kCols, kCols), dots);
        ref::gather_axpy(W.view, ids, std::span(a).subspan(t * kRows, kRows), sum);
        // Inputs of quantised products are rounded to 8 bits, at most 1 / 254 each.
        const float tolerance = dtype == DType::kF32 ? 1e-5f : 0.1f;
        for (uint32_t i = 0; i < kRows; ++i) {
          if (has(own[t], i)) {
            ASSERT_NEAR(y[t * kRows + i], dots[i] + (biased ? bias[i] : 0.0f), tolerance) << t << ", " << i;
          } else {
            ASSERT_EQ(y[t * kRows + i], 0.0f) << t << ", " << i;
          }
        }
        // Many tokens times all rows may be rounded to bf16, where a machine has tiles.
        const float added = dtype != DType::kF32 && path != RowPath::kOwn && n_tokens > 7 ? 0.03f : 2e-5f;
        for (size_t c = 0; c < kCols; ++c) ASSERT_NEAR(z[t * kCols + c], sum[c], added) << t << ", " << c;
      }
    }
}

TEST(ChosenRows, EveryPathGivesTheTokensOwnProducts) {
  Compute compute(2);
  for (const DType dtype : {DType::kF32, DType::kQ8_0})
    for (const size_t n_tokens : {2, 3, 7, 16, 40})
      for (const size_t every : {1, 2, 9, 1000}) expect_products(compute, dtype, n_tokens, every);
}

// 100 rows: each path has its range.
TEST(RowCosts, TheCheapestPathIsChosen) {
  const RowCosts costs{.own_call = 1, .own_row = 1, .own_first = 0, .union_call = 3, .union_row = 2, .all = 83};
  EXPECT_DOUBLE_EQ(costs.union_break_even(100), 0.4);
  EXPECT_NEAR(costs.own_break_even(100, 3), 80.0 / 300, 1e-3);
  EXPECT_DOUBLE_EQ((RowCosts{.own_call = 1, .own_row = 2, .own_first = 5}.seconds(RowPath::kOwn, 3, 20, 10)),
                   3 + 40 + 50);
  // Two tokens of half of the rows each need three quarters.
  EXPECT_NEAR((RowCosts{.own_first = 1, .all = 75}.own_break_even(100, 2)), 0.5, 1e-3);
  const auto choose = [&](std::vector<Rows> own) {
    Rows any;
    select_union(own, any);
    return fastest(costs, own, any);
  };
  const auto first = [](uint32_t from, uint32_t n) {
    std::vector<uint32_t> ids(n);
    for (uint32_t i = 0; i < n; ++i) ids[i] = from + i;
    return Rows::of(ids, 100);
  };
  EXPECT_EQ(choose({first(0, 10), first(10, 10), first(20, 10)}), RowPath::kOwn);  // 33, against 63 and 83
  EXPECT_EQ(choose({first(0, 25), first(0, 25), first(0, 25)}), RowPath::kUnion);  // 53, against 78 and 83
  EXPECT_EQ(choose({first(0, 30), first(30, 30), first(60, 30)}), RowPath::kAll);  // 83, against 93 and 183
  EXPECT_EQ(choose({Rows::all(100), first(0, 1), first(0, 1)}), RowPath::kAll);
  // Where nothing is cheaper than all rows, and where gathering costs nothing.
  EXPECT_EQ(RowCosts().union_break_even(100), 0);
  EXPECT_EQ((RowCosts{.all = 1}.union_break_even(100)), 1);
  EXPECT_EQ((RowCosts{.own_call = 2, .all = 1}.own_break_even(100, 3)), 0);
}

TEST(RowCosts, AreMeasuredOnMatricesOfAnySize) {
  Compute compute(2);
  for (const size_t n : {1, 40, 3000}) {
    const Weights a(DType::kQ8_0, n, 64), b(DType::kQ8_0, n, 64);
    const std::vector<WeightView> like{a.view, b.view};
    for (const RowProduct product : {RowProduct::kDot, RowProduct::kAdd})
      for (const size_t n_tokens : {2, 16}) {
        const RowCosts costs = measure_row_costs(compute, product, like, n_tokens);
        EXPECT_GT(costs.all, 0);
        for (const double part : {costs.own_call, costs.own_row, costs.own_first, costs.union_call, costs.union_row}) {
          EXPECT_GE(part, 0);
          EXPECT_TRUE(std::isfinite(part));
        }
        if (n == 3000) {
          EXPECT_GT(costs.own_row + costs.own_first + costs.own_call, 0);
          EXPECT_GT(costs.union_row + costs.union_call, 0);
        }
        EXPECT_LT(costs.all, 0.5) << "seconds";
      }
  }
}

}  // namespace
}  // namespace hunch
