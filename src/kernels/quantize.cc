#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize.cc"
#include "kernels/quantize.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"

#include "base/checked_math.h"

#ifndef HUNCH_KERNELS_QUANTIZED_ROW
#define HUNCH_KERNELS_QUANTIZED_ROW
namespace hunch {
// One row of the arrays of a QuantizedX.
struct QuantizedRow {
  int8_t* q;
  float *scale, *scaled_sum16, *scaled_sum;
  int32_t *start16, *start32;
};
}  // namespace hunch
#endif

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

void QuantizeRow(const float* x, size_t n, size_t n_padded, const QuantizedRow& out) {
  for (size_t b = 0; b < n_padded / 32; ++b) {
    int32_t sum16[2] = {0, 0};
    if (32 * b < n) {
      QuantizeBlock(x + 32 * b, out.q + 32 * b, &out.scale[b], sum16);
    } else {
      for (size_t j = 0; j < 32; ++j) out.q[32 * b + j] = 0;
      out.scale[b] = 0;
    }
    out.scaled_sum16[2 * b] = out.scale[b] * float(sum16[0]);
    out.scaled_sum16[2 * b + 1] = out.scale[b] * float(sum16[1]);
    out.scaled_sum[b] = out.scale[b] * float(sum16[0] + sum16[1]);
    out.start16[2 * b] = -128 * sum16[0];
    out.start16[2 * b + 1] = -128 * sum16[1];
    out.start32[b] = -128 * (sum16[0] + sum16[1]);
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
  return n_tokens * (n_padded + n_padded / 32 * 28);  // per block of 32: four floats and three sums
}

QuantizedX quantize(Compute& compute, MatView<const float> X, std::byte* memory) {
  QuantizedX out;
  out.n_tokens = X.rows;
  out.n_in = X.cols;
  out.n_padded = round_up(X.cols, QuantizedX::kPad);
  const size_t n_blocks = out.n_blocks(), n = X.rows * n_blocks;
  auto* q = reinterpret_cast<int8_t*>(memory);
  auto* scale = reinterpret_cast<float*>(q + X.rows * out.n_padded);
  auto* start16 = reinterpret_cast<int32_t*>(scale + 4 * n);
  out.q = q;
  out.scale = scale;
  out.scaled_sum = scale + n;
  out.scaled_sum16 = scale + 2 * n;
  out.start16 = start16;
  out.start32 = start16 + 2 * n;
  const auto row = HWY_DYNAMIC_DISPATCH(QuantizeRow);
  const auto rows = [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t)
      row(X.data + t * X.row_stride, X.cols, out.n_padded,
          {q + t * out.n_padded, scale + t * n_blocks, scale + 2 * n + t * 2 * n_blocks, scale + n + t * n_blocks,
           start16 + t * 2 * n_blocks, start16 + 2 * n + t * n_blocks});
  };
  // A row of 4096 takes about 1 us, less than waking a thread.
  if (X.rows < 8) {
    rows(0, X.rows, 0);
  } else {
    compute.threads.parallel_for(X.rows, 1, rows);
  }
  return out;
}
}  // namespace hunch
#endif
