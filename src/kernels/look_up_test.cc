#include "kernels/look_up.h"

#include <gtest/gtest.h>

#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

TEST(LookUpRows, AreThoseOfTheReferenceInEveryFormatOnEveryTarget) {
  for (const DType dtype : computing_types()) {
    for (const size_t n_blocks : {1, 2, 3, 7, 17, 33}) {
      const size_t n_cols = n_blocks * info(dtype).block_elems;
      const TestMatrix W = random_matrix(dtype, 5, n_cols, info(dtype).block_bytes, uint32_t(n_cols));
      const std::vector<int32_t> ids = {4, 0, 4, 2, 1, 3};
      std::vector<float> want(ids.size() * n_cols);
      ref::look_up_rows(W.view, ids, {want.data(), ids.size(), n_cols});
      for_each_target([&] {
        for (const size_t n_threads : {1, 3}) {
          Compute compute(n_threads);
          std::vector<float> got(want.size(), -77.0f);
          look_up_rows(compute, W.view, ids, {got.data(), ids.size(), n_cols});
          for (size_t i = 0; i < got.size(); ++i) {
            // A minimum is one rounding more; without one the bits are the reference's.
            const float magnitude = W.magnitude[size_t(ids[i / n_cols]) * n_cols + i % n_cols];
            ASSERT_NEAR(got[i], want[i], info(dtype).has_min ? 3e-7f * magnitude : 0.0f)
                << name_of(dtype) << ", value " << i % n_cols << " of " << n_cols;
          }
          EXPECT_EQ(compute.meter.bytes().weights(), ids.size() * row_bytes(dtype, n_cols));
        }
      });
    }
  }
}

}  // namespace
}  // namespace hunch
