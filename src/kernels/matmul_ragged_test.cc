#include "kernels/matmul_ragged.h"

#include <gtest/gtest.h>

#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

// Tasks over some rows of matrices of two dtypes, with token ranges of every kind: against matmul() of each token
// alone.
void expect_ragged(Compute& compute, DType a, DType b) {
  constexpr size_t kTokens = 21, kIn = 512, kRows = 45;
  const TestMatrix W[] = {random_matrix(a, kRows, kIn, 10, 1), random_matrix(b, kRows, kIn, 0, 2)};
  const std::vector<float> x = normal_values(kTokens * (kIn + 3), 3), bias = normal_values(kRows, 4);
  const MatView<const float> X(x.data(), kTokens, kIn, kIn + 3);
  struct Range {
    size_t w, row, n_rows, token, n_tokens;
    bool with_bias;
  };
  const Range ranges[] = {{0, 0, 45, 20, 1, true},  {1, 16, 16, 0, 21, false}, {0, 3, 1, 4, 13, true},
                          {1, 44, 1, 20, 1, false}, {0, 5, 33, 7, 0, false},   {1, 0, 20, 19, 2, true}};
  std::vector<std::vector<float>> got;
  std::vector<RaggedTask> tasks;
  for (const Range& r : ranges) got.emplace_back((r.n_tokens + 1) * (r.n_rows + 2), 777.0f);
  for (size_t i = 0; i < std::size(ranges); ++i) {
    const Range& r = ranges[i];
    tasks.push_back({W[r.w].view.row_range(r.row, r.n_rows),
                     r.with_bias ? std::span(bias).subspan(r.row, r.n_rows) : std::span<const float>(),
                     {got[i].data(), r.n_tokens, r.n_rows, r.n_rows + 2},
                     r.token});
  }
  matmul_ragged(compute, X, tasks);
  for (size_t i = 0; i < tasks.size(); ++i) {
    const Range& r = ranges[i];
    for (size_t t = 0; t < r.n_tokens; ++t) {
      std::vector<float> want(r.n_rows);
      const MatmulTask task{tasks[i].W, tasks[i].bias, {want.data(), 1, r.n_rows}};
      matmul(compute, X.row_range(r.token + t, 1), {&task, 1});
      for (size_t k = 0; k < r.n_rows; ++k)
        ASSERT_EQ(got[i][t * (r.n_rows + 2) + k], want[k]) << "task " << i << " token " << t << " row " << k;
      EXPECT_EQ(got[i][t * (r.n_rows + 2) + r.n_rows], 777.0f);
    }
  }
}

TEST(MatmulRagged, EveryTokenHasTheBitsOfAProductWithItAlone) {
  for_each_target([&] {
    for (const size_t n_threads : {1, 2}) {
      Compute compute(n_threads);
      for (const DType dtype : computing_types())
        expect_ragged(compute, dtype, dtype == DType::kF32 ? DType::kQ4_0 : DType::kQ8_0);
    }
  });
}

TEST(MatmulRagged, OfNothingDoesNothing) {
  Compute compute(2);
  matmul_ragged(compute, {}, {});
}

}  // namespace
}  // namespace hunch
