#include "kernels/quantize.h"

#include <gtest/gtest.h>

#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

// A product with quantised weights is only as good as this: every x moves by at most half a step.
TEST(Quantize, RoundsToNearestInBlocksOf32OnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    for (const size_t n_tokens : {1, 3, 9}) {
      const size_t n_in = 288, stride = n_in + 5;
      std::vector<float> x = normal_values(n_tokens * stride, 3);
      for (size_t i = 32; i < 64; ++i) x[i] = 0;
      for (size_t i = 64; i < 96; ++i) x[i] *= 1e-35f;
      std::vector<std::byte> storage(quantized_bytes(n_tokens, n_in) + 64);
      std::byte* memory = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
      const QuantizedX q = quantize(compute, MatView<const float>(x.data(), n_tokens, n_in, stride), memory);
      ASSERT_EQ(q.n_padded, 512u);
      for (size_t t = 0; t < n_tokens; ++t)
        for (size_t b = 0; b < q.n_blocks(); ++b) {
          float absmax = 0;
          int32_t sums[2] = {0, 0};
          for (size_t j = 0; j < 32; ++j) {
            const size_t i = 32 * b + j;
            const float value = i < n_in ? x[t * stride + i] : 0.0f;
            absmax = std::max(absmax, std::fabs(value));
            const int8_t code = q.q_row(t)[i];
            ASSERT_GE(code, -127);
            sums[j / 16] += code;
          }
          for (size_t j = 0; j < 32; ++j) {
            const size_t i = 32 * b + j;
            const float value = i < n_in ? x[t * stride + i] : 0.0f;
            ASSERT_NEAR(q.scale_row(t)[b] * float(q.q_row(t)[i]), value, absmax / 254 * 1.00001f + 1e-30f)
                << t << " " << i;
          }
          ASSERT_EQ(q.start16_row(t)[2 * b], -128 * sums[0]);
          ASSERT_EQ(q.start16_row(t)[2 * b + 1], -128 * sums[1]);
          ASSERT_EQ(q.start32_row(t)[b], -128 * (sums[0] + sums[1]));
          for (size_t half = 0; half < 2; ++half)
            ASSERT_FLOAT_EQ(q.scaled_sum16_row(t)[2 * b + half], q.scale_row(t)[b] * float(sums[half]));
          ASSERT_FLOAT_EQ(q.scaled_sum_row(t)[b], q.scale_row(t)[b] * float(sums[0] + sums[1]));
        }
    }
  });
}

}  // namespace
}  // namespace hunch
