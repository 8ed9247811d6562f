#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize.cc"
#include "kernels/quantize.h"
#include "kernels/dot_targets.h"  // before foreach_target
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "base/checked_math.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One block: q[32], its scale and the sums of both halves.
void QuantizeBlock(const float* x, int8_t* q, float* scale, int32_t* sum16) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const size_t N = hn::Lanes(d);
  auto max = hn::Zero(d);
  for (size_t i = 0; i < 32; i += N) max = hn::Max(max, hn::Abs(hn::LoadU(d, x + i)));
  const float absmax = hn::GetLane(hn::MaxOfLanes(d, max));
  // Below this, 127 / absmax would leave the range of f32; such a block counts as zero.
  const bool zero = absmax < 1e-30f;
  *scale = zero ? 0 : absmax / 127;
  const auto inverse = hn::Set(d, zero ? 0 : 127 / absmax);
  for (size_t half = 0; half < 2; ++half) {
    auto sum = hn::Zero(di);
    for (size_t i = half * 16; i < half * 16 + 16; i += N) {
      const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), inverse));
      sum = hn::Add(sum, rounded);
      hn::StoreU(hn::DemoteTo(d8, rounded), d8, q + i);
    }
    sum16[half] = hn::GetLane(hn::SumOfLanes(di, sum));
  }
}

void QuantizeRow(const float* x, size_t n, size_t n_padded, int8_t* q, float* scale, float* scaled_sum,
                 int32_t* sum16) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32, ++scale, ++scaled_sum, sum16 += 2) {
    QuantizeBlock(x + i, q + i, scale, sum16);
    *scaled_sum = *scale * float(sum16[0] + sum16[1]);
  }
  for (; i < n_padded; i += 32, ++scale, ++scaled_sum, sum16 += 2) {
    for (size_t j = 0; j < 32; ++j) q[i + j] = 0;
    *scale = *scaled_sum = 0;
    sum16[0] = sum16[1] = 0;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(QuantizeRow);

size_t quantized_bytes(size_t n_tokens, size_t n_in) {
  const size_t n_padded = round_up(n_in, QuantizedX::kPad);
  return n_tokens * (n_padded + n_padded / 32 * (2 * sizeof(float)) + n_padded / 16 * sizeof(int32_t));
}

QuantizedX quantize(ThreadPool& pool, MatView<const float> X, std::byte* memory) {
  QuantizedX out;
  out.n_tokens = X.rows;
  out.n_in = X.cols;
  out.n_padded = round_up(X.cols, QuantizedX::kPad);
  const size_t n_blocks = out.n_blocks();
  auto* q = reinterpret_cast<int8_t*>(memory);
  auto* scale = reinterpret_cast<float*>(q + X.rows * out.n_padded);
  auto* scaled_sum = scale + X.rows * n_blocks;
  auto* sum16 = reinterpret_cast<int32_t*>(scaled_sum + X.rows * n_blocks);
  out.q = q;
  out.scale = scale;
  out.scaled_sum = scaled_sum;
  out.sum16 = sum16;
  const auto row = HWY_DYNAMIC_DISPATCH(QuantizeRow);
  const auto rows = [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t)
      row(X.data + t * X.row_stride, X.cols, out.n_padded, q + t * out.n_padded, scale + t * n_blocks,
          scaled_sum + t * n_blocks, sum16 + t * 2 * n_blocks);
  };
  // A row of 4096 takes about 1 us, less than waking a thread.
  if (X.rows < 8) {
    rows(0, X.rows, 0);
  } else {
    pool.parallel_for(X.rows, 1, rows);
  }
  return out;
}
}  // namespace hunch
#endif
