#include "kernels/gather.h"

#include <gtest/gtest.h>

#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

std::vector<size_t> some_columns(DType dtype) {
  const uint32_t block = info(dtype).block_elems;
  if (block == 1) return {1, 15, 40, 67, 300};
  if (block == 32) return {32, 96, 352};
  return {256, 512};
}

// Ids lists of every length below 9, and one long one that ends with the last row.
std::vector<std::vector<uint32_t>> some_ids(uint32_t n_rows) {
  std::vector<std::vector<uint32_t>> lists(10);
  std::mt19937 rng(3);
  for (size_t n = 0; n < 9; ++n)
    for (uint32_t id = uint32_t(rng() % 3); lists[n].size() < n; id += 1 + uint32_t(rng() % 2)) lists[n].push_back(id);
  for (uint32_t id = 0; id < n_rows; id += 1 + uint32_t(rng() % 2)) lists[9].push_back(id);
  if (lists[9].back() != n_rows - 1) lists[9].push_back(n_rows - 1);
  return lists;
}

void expect_gathers(Compute& compute, DType dtype, size_t n_cols, size_t padding) {
  constexpr uint32_t kRows = 41;
  const TestMatrix W = random_matrix(dtype, kRows, n_cols, padding, uint32_t(n_cols));
  const std::vector<float> x = normal_values(n_cols, 5), seen = input_as_seen(dtype, x);
  for (const std::vector<uint32_t>& ids : some_ids(kRows)) {
    SCOPED_TRACE(std::string(name_of(dtype)) + " columns " + std::to_string(n_cols) + " ids " +
                 std::to_string(ids.size()) + " threads " + std::to_string(compute.threads.n_threads()));
    std::vector<float> got(ids.size(), 777.0f), want(ids.size());
    gather_dot(compute, W.view, ids, x, got);
    ref::gather_dot(W.view, ids, seen, want);
    for (size_t k = 0; k < ids.size(); ++k) ASSERT_NEAR(got[k], want[k], tolerance(W, ids[k], seen)) << k;

    std::vector<float> a = normal_values(ids.size(), 6);
    if (a.size() > 2) a[1] = 0;
    const std::vector<float> before = normal_values(n_cols, 7);
    std::vector<float> y = before, sum = before;
    gather_axpy(compute, W.view, ids, a, y);
    ref::gather_axpy(W.view, ids, a, sum);
    for (size_t c = 0; c < n_cols; ++c) {
      float bound = std::fabs(before[c]);
      for (size_t k = 0; k < ids.size(); ++k) bound += std::fabs(a[k]) * W.magnitude[ids[k] * n_cols + c];
      ASSERT_NEAR(y[c], sum[c], 1e-6f * bound) << c;
    }
  }
}

// Several tokens share the list; every other row is zero for most of them, as in the union of what they activate.
void expect_gathers_for(size_t n_tokens, Compute& compute, DType dtype, size_t n_cols, size_t padding) {
  constexpr uint32_t kRows = 41;
  const TestMatrix W = random_matrix(dtype, kRows, n_cols, padding, uint32_t(n_cols));
  const size_t x_stride = n_cols + 3;
  const std::vector<float> x = normal_values(n_tokens * x_stride, 5);
  const MatView<const float> X(x.data(), n_tokens, n_cols, x_stride);
  for (const std::vector<uint32_t>& ids : some_ids(kRows)) {
    SCOPED_TRACE(std::string(name_of(dtype)) + " columns " + std::to_string(n_cols) + " ids " +
                 std::to_string(ids.size()) + " tokens " + std::to_string(n_tokens) + " threads " +
                 std::to_string(compute.threads.n_threads()));
    const size_t k_stride = ids.size() + 5;
    std::vector<float> got(n_tokens * k_stride, 777.0f);
    gather_dot(compute, W.view, ids, X, MatView<float>(got.data(), n_tokens, ids.size(), k_stride));
    for (size_t t = 0; t < n_tokens; ++t) {
      const std::vector<float> seen = input_as_seen(dtype, X.row(t));
      std::vector<float> want(ids.size());
      ref::gather_dot(W.view, ids, seen, want);
      for (size_t k = 0; k < ids.size(); ++k)
        ASSERT_NEAR(got[t * k_stride + k], want[k], tolerance(W, ids[k], seen)) << t << ", " << k;
      for (size_t k = ids.size(); k < k_stride; ++k) ASSERT_EQ(got[t * k_stride + k], 777.0f) << "beyond the row " << t;
    }

    std::vector<float> a = normal_values(n_tokens * k_stride, 6);
    for (size_t t = 0; t < n_tokens; ++t)
      for (size_t k = 0; k < ids.size(); ++k)
        if ((k / 8 + t / 4) % 2) a[t * k_stride + k] = 0;
    const MatView<const float> A(a.data(), n_tokens, ids.size(), k_stride);
    const std::vector<float> before = normal_values(n_tokens * x_stride, 7);
    std::vector<float> y = before, sum = before;
    gather_axpy(compute, W.view, ids, A, MatView<float>(y.data(), n_tokens, n_cols, x_stride));
    ref::gather_axpy(W.view, ids, A, MatView<float>(sum.data(), n_tokens, n_cols, x_stride));
    for (size_t t = 0; t < n_tokens; ++t)
      for (size_t c = 0; c < x_stride; ++c) {
        const size_t at = t * x_stride + c;
        float bound = std::fabs(before[at]);
        for (size_t k = 0; c < n_cols && k < ids.size(); ++k)
          bound += std::fabs(A.row(t)[k]) * W.magnitude[ids[k] * n_cols + c];
        ASSERT_NEAR(y[at], sum[at], c < n_cols ? 1e-6f * bound : 0) << t << ", " << c;
      }
  }
}

TEST(Gather, SeveralTokensMatchReferenceOnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    for (const DType dtype : computing_types())
      for (const size_t n_cols : some_columns(dtype))
        for (const size_t n_tokens : {3, 6}) expect_gathers_for(n_tokens, compute, dtype, n_cols, 10);
  });
}

TEST(Gather, SeveralTokensMatchReferenceForEveryNumberOfThreads) {
  for (const size_t n_threads : {1, 3}) {
    Compute compute(n_threads);
    for (const DType dtype : computing_types()) expect_gathers_for(13, compute, dtype, is_plain(dtype) ? 67 : 256, 0);
  }
}

TEST(Gather, NoTokensAndNoRowsChangeNothing) {
  Compute compute(2);
  const TestMatrix W = random_matrix(DType::kQ8_0, 8, 64, 0, 1);
  std::vector<float> y(128, 3.0f);
  gather_axpy(compute, W.view, {}, MatView<const float>(y.data(), 2, 0), MatView<float>(y.data(), 2, 64));
  gather_dot(compute, W.view, {}, MatView<const float>(y.data(), 2, 64), MatView<float>(y.data(), 2, 0));
  const std::vector<uint32_t> ids{1, 4};
  gather_dot(compute, W.view, ids, MatView<const float>(y.data(), 0, 64), MatView<float>(y.data(), 0, 2));
  EXPECT_EQ(y, std::vector<float>(128, 3.0f));
}

TEST(Gather, MatchesReferenceOnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    for (const DType dtype : computing_types())
      for (const size_t n_cols : some_columns(dtype)) expect_gathers(compute, dtype, n_cols, 10);
  });
}

TEST(Gather, MatchesReferenceForEveryNumberOfThreads) {
  for (const size_t n_threads : {1, 3}) {
    Compute compute(n_threads);
    for (const DType dtype : computing_types()) expect_gathers(compute, dtype, is_plain(dtype) ? 67 : 256, 0);
  }
}

TEST(Gather, AxpyIsDeterministicForANumberOfThreads) {
  Compute compute(3);
  const TestMatrix W = random_matrix(DType::kQ8_0, 50, 64, 0, 1);
  std::vector<uint32_t> ids(50);
  for (uint32_t i = 0; i < 50; ++i) ids[i] = i;
  const std::vector<float> a = normal_values(50, 2);
  std::vector<float> first(64);
  gather_axpy(compute, W.view, ids, a, first);
  for (int i = 0; i < 20; ++i) {
    std::vector<float> again(64);
    gather_axpy(compute, W.view, ids, a, again);
    ASSERT_EQ(again, first);
  }
}

}  // namespace
}  // namespace hunch
