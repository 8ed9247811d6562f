#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "formats/format.h"
#include "kernels/gather.h"
#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

void expect_transposed(Compute& compute, DType dtype, size_t n_in, size_t n_out, size_t n_tokens) {
  SCOPED_TRACE(std::string(name_of(dtype)) + " n_in " + std::to_string(n_in) + " n_out " + std::to_string(n_out) +
               " tokens " + std::to_string(n_tokens));
  const TestMatrix Wt = random_matrix(dtype, n_in, n_out, 6, uint32_t(n_out));
  const Batch A(n_tokens, n_in, 2, 17);
  const std::vector<float> bias = n_tokens % 2 ? normal_values(n_out, 98) : std::vector<float>();
  const size_t y_stride = n_out + 3;
  std::vector<float> got(n_tokens * y_stride, 777.0f), want(got);
  matmul_transposed(compute, A.view, Wt.view, bias, MatView<float>(got.data(), n_tokens, n_out, y_stride));
  ref::matmul_transposed(A.view, Wt.view, bias, MatView<float>(want.data(), n_tokens, n_out, y_stride));
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t c = 0; c < y_stride; ++c) {
      const size_t at = t * y_stride + c;
      if (c >= n_out) {
        ASSERT_EQ(got[at], 777.0f) << "wrote beyond its columns";
        continue;
      }
      float sum = bias.empty() ? 0 : std::fabs(bias[c]);
      for (size_t k = 0; k < n_in; ++k)
        sum += std::fabs(A.view.data[t * A.view.row_stride + k]) * Wt.magnitude[k * n_out + c];
      ASSERT_NEAR(got[at], want[at], 1e-6f * sum + 1e-30f) << "token " << t << " column " << c;
    }
}

TEST(Matmul, MatchesReferenceOnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    for (const DType dtype : computing_types()) {
      const bool plain = is_plain(dtype);
      const std::vector<size_t> columns = plain                           ? std::vector<size_t>{1, 7, 40, 67, 300}
                                          : info(dtype).block_elems == 32 ? std::vector<size_t>{32, 96, 352}
                                          : info(dtype).block_elems == 64 ? std::vector<size_t>{64, 192, 704}
                                                                          : std::vector<size_t>{256, 512};
      for (const size_t n_in : columns) {
        const TestMatrix W = random_matrix(dtype, 37, n_in, /*padding_bytes=*/6, uint32_t(n_in));
        for (const size_t n_tokens : {1, 2, 3, 5, 17}) expect_matmul(compute, W, n_tokens, n_tokens % 2 == 0, 5);
      }
    }
  });
}

TEST(Matmul, MatchesReferenceForEveryNumberOfThreadsAndTokens) {
  const WithoutTiles without;
  for (const size_t n_threads : {1, 2, 3}) {
    Compute compute(n_threads);
    for (const DType dtype : computing_types()) {
      // Beyond one panel's depth.
      const size_t n_in = is_plain(dtype) ? 261 : multiplies_floats(dtype) ? 320 : 768;
      const TestMatrix W = random_matrix(dtype, 70, n_in, 0, 3), narrow = random_matrix(dtype, 3, n_in, 2, 4);
      for (const size_t n_tokens : {1, 4, 16, 33, 70}) expect_matmul(compute, W, n_tokens, true, 11);
      expect_matmul(compute, narrow, 33, false, 12);
    }
  }
}

TEST(Matmul, SharesItsInputAmongTasksOfDifferentTypes) {
  const WithoutTiles without;
  Compute compute(2);
  for (const size_t n_tokens : {1, 3, 40}) {
    const size_t n_in = 512;
    const Batch X(n_tokens, n_in, 0, 21);
    std::vector<TestMatrix> W;
    std::vector<std::vector<float>> got, want;
    uint32_t seed = 1;
    std::vector<DType> types = computing_types();
    types.push_back(DType::kQ4_K);  // twice: its kind of input is made once
    for (const DType dtype : types) W.push_back(random_matrix(dtype, 5 + 7 * seed, n_in, 0, seed)), ++seed;
    std::vector<MatmulTask> tasks;
    got.resize(W.size());
    for (size_t i = 0; i < W.size(); ++i) {
      got[i].resize(n_tokens * W[i].view.rows);
      tasks.push_back({W[i].view, {}, MatView<float>(got[i].data(), n_tokens, W[i].view.rows)});
    }
    matmul(compute, X.view, tasks);
    for (size_t i = 0; i < W.size(); ++i) {
      std::vector<float> expected(got[i].size());
      const Batch seen = as_seen(W[i].view.dtype, X);
      ref::matmul(seen.view, {W[i].view, {}, MatView<float>(expected.data(), n_tokens, W[i].view.rows)});
      for (size_t at = 0; at < expected.size(); ++at) {
        const size_t t = at / W[i].view.rows, r = at % W[i].view.rows;
        ASSERT_NEAR(got[i][at], expected[at], tolerance(W[i], r, seen.view.row(t))) << i << " " << t << " " << r;
      }
    }
  }
}

// Codes and activations at both ends of their ranges, where saturating instructions would go wrong.
TEST(Matmul, ExtremeCodesDoNotSaturate) {
  Compute compute(1);
  for_each_target([&] {
    for (const DType dtype : computing_types()) {
      if (multiplies_floats(dtype)) continue;
      TestMatrix W = random_matrix(dtype, 33, 256, 0, 3);
      for (const int code : {0x80, 0xff, 0x00, 0x7f}) {  // 0x80: -128 in Q8_0
        W.fill_codes(std::byte(code));
        for (const size_t n_tokens : {1, 2, 19})
          for (const float sign : {1.0f, -1.0f}) {
            Batch X(n_tokens, 256, 0, 0);
            std::fill(X.values.begin(), X.values.end(), sign);
            expect_matmul(compute, W, X, false);
          }
      }
    }
  });
}

TEST(Matmul, ZeroAndTinyInputsGiveZero) {
  Compute compute(2);
  for (const DType dtype : computing_types())
    for (const float value : {0.0f, 1e-38f}) {
      const TestMatrix W = random_matrix(dtype, 9, 256, 0, 3);
      for (const size_t n_tokens : {1, 40}) {
        const std::vector<float> x(n_tokens * 256, value);
        std::vector<float> y(n_tokens * 9, 777.0f);
        const MatmulTask task{W.view, {}, MatView<float>(y.data(), n_tokens, 9)};
        matmul(compute, MatView<const float>(x.data(), n_tokens, 256), std::span(&task, 1));
        for (const float v : y) ASSERT_NEAR(v, 0.0f, 1e-34f) << name_of(dtype);
      }
    }
}

TEST(MatmulTransposed, MatchesReferenceOnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    for (const DType dtype : computing_types()) {
      const bool plain = is_plain(dtype);
      const std::vector<size_t> columns = plain                           ? std::vector<size_t>{1, 40, 67}
                                          : info(dtype).block_elems == 32 ? std::vector<size_t>{32, 160}
                                          : info(dtype).block_elems == 64 ? std::vector<size_t>{64, 192}
                                                                          : std::vector<size_t>{256, 512};
      for (const size_t n_out : columns)
        for (const size_t n_tokens : {1, 2, 3, 5, 17, 29}) expect_transposed(compute, dtype, 45, n_out, n_tokens);
    }
  });
}

TEST(MatmulTransposed, MatchesReferenceForEveryNumberOfThreadsAndTokens) {
  const WithoutTiles without;
  for (const size_t n_threads : {1, 2, 3}) {
    Compute compute(n_threads);
    for (const DType dtype : computing_types())
      for (const size_t n_tokens : {1, 4, 16, 33, 70})
        expect_transposed(compute, dtype, 261, is_plain(dtype) ? 70 : 256, n_tokens);
  }
}

// Speculation verifies several tokens in one pass and decides as if each had come alone: bits, not closeness.
TEST(MatmulAsAlone, EveryTokenHasTheBitsOfACallWithItAlone) {
  for_each_target([&] {
    for (const size_t n_threads : {1, 3}) {
      Compute compute(n_threads);
      for (const DType dtype : computing_types()) {
        const size_t n_in = is_plain(dtype) ? 131 : info(dtype).block_elems < 256 ? 704 : 512, n_out = 39;
        const TestMatrix W = random_matrix(dtype, n_out, n_in, 0, 3);
        const std::vector<float> bias = normal_values(n_out, 4);
        for (const size_t n_tokens : {2, 5, 8, 35}) {
          const Batch X(n_tokens, n_in, 1, uint32_t(n_tokens));
          std::vector<float> together(n_tokens * n_out), alone(n_out);
          const MatmulTask task{W.view, bias, MatView<float>(together.data(), n_tokens, n_out)};
          matmul(compute, X.view, std::span(&task, 1), TokenBits::kAsAlone);
          for (size_t t = 0; t < n_tokens; ++t) {
            const MatmulTask one{W.view, bias, MatView<float>(alone.data(), 1, n_out)};
            matmul(compute, X.view.row_range(t, 1), std::span(&one, 1));
            ASSERT_EQ(std::memcmp(alone.data(), &together[t * n_out], n_out * sizeof(float)), 0)
                << name_of(dtype) << " token " << t << " of " << n_tokens << ", " << n_threads << " threads";
          }
        }
      }
    }
  });
}

TEST(MatmulAsAlone, EveryTokenOfATransposedProductHasTheBitsOfACallWithItAlone) {
  for_each_target([&] {
    for (const size_t n_threads : {1, 3}) {
      Compute compute(n_threads);
      for (const DType dtype : computing_types()) {
        const size_t n_in = 45, n_out = is_plain(dtype) ? 67 : 256;
        const TestMatrix Wt = random_matrix(dtype, n_in, n_out, 0, 3);
        for (const size_t n_tokens : {2, 5, 9}) {
          const Batch A(n_tokens, n_in, 1, uint32_t(n_tokens));
          std::vector<float> together(n_tokens * n_out), alone(n_out);
          matmul_transposed(compute, A.view, Wt.view, {}, MatView<float>(together.data(), n_tokens, n_out),
                            TokenBits::kAsAlone);
          for (size_t t = 0; t < n_tokens; ++t) {
            matmul_transposed(compute, A.view.row_range(t, 1), Wt.view, {}, MatView<float>(alone.data(), 1, n_out));
            ASSERT_EQ(std::memcmp(alone.data(), &together[t * n_out], n_out * sizeof(float)), 0)
                << name_of(dtype) << " token " << t << " of " << n_tokens << ", " << n_threads << " threads";
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace hunch
