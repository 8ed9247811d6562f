#include "kernels/causal_conv.h"

#include <algorithm>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/causal_conv.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/vec_math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// One token's channels [begin, end). `rows` [k]: the inputs of the last k tokens, oldest first.
void ConvRow(const float* const* rows, MatView<const float> W, const float* bias, bool silu, size_t begin, size_t end,
             float* y) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const auto part = [&](size_t c, const auto& load, const auto& store) {
    VF sum = bias ? load(bias + c) : hn::Zero(d);
    for (size_t j = 0; j < W.rows; ++j) sum = hn::MulAdd(load(W.data + j * W.row_stride + c), load(rows[j] + c), sum);
    store(silu ? hn::Mul(sum, sigmoid(d, sum)) : sum, y + c);
  };
  size_t c = begin;
  for (; c + lanes <= end; c += lanes)
    part(
        c, [&](const float* p) { return hn::LoadU(d, p); }, [&](VF v, float* p) { hn::StoreU(v, d, p); });
  if (const size_t n = end - c; n > 0)
    part(
        c, [&](const float* p) { return load_tail(d, p, n); }, [&](VF v, float* p) { store_tail(v, d, p, n); });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(ConvRow);

namespace {

constexpr size_t kMostTaps = 16;

// The inputs that token t's output is made of, oldest first.
void rows_of(size_t t, MatView<const float> X, MatView<const float> past, size_t k, const float** rows) {
  for (size_t j = 0; j < k; ++j) {
    const size_t back = k - 1 - j;  // tokens before this one
    rows[j] = back <= t ? X.data + (t - back) * X.row_stride : past.data + (past.rows - (back - t)) * past.row_stride;
  }
}

// The last k - 1 inputs of channels [begin, end): of X, and where it has fewer, of `past`.
void remember(MatView<const float> X, size_t begin, size_t end, MatView<float> past) {
  const size_t kept = past.rows - std::min(past.rows, X.rows);  // of the old ones
  for (size_t j = 0; j < past.rows; ++j) {
    const float* from = j < kept ? past.data + (past.rows - kept + j) * past.row_stride
                                 : X.data + (X.rows - (past.rows - j)) * X.row_stride;
    std::copy(from + begin, from + end, past.data + j * past.row_stride + begin);
  }
}

void check(MatView<const float> X, MatView<const float> W, std::span<const float> bias, MatView<float> past,
           MatView<float> Y) {
  HUNCH_CHECK(W.rows >= 1 && W.rows <= kMostTaps && past.rows + 1 == W.rows && W.cols == X.cols &&
                  past.cols == X.cols && Y.rows == X.rows && Y.cols == X.cols &&
                  (bias.empty() || bias.size() == X.cols),
              "causal_conv: X [{}, {}], W [{}, {}], past [{}, {}], Y [{}, {}]", X.rows, X.cols, W.rows, W.cols,
              past.rows, past.cols, Y.rows, Y.cols);
}

}  // namespace

void causal_conv(Compute& compute, MatView<const float> X, MatView<const float> W, std::span<const float> bias,
                 bool silu, MatView<float> past, MatView<float> Y) {
  check(X, W, bias, past, Y);
  compute.threads.parallel_for(X.cols, 64, [&](size_t begin, size_t end) {
    const float* rows[kMostTaps];
    for (size_t t = 0; t < X.rows; ++t) {
      rows_of(t, X, past, W.rows, rows);
      HWY_DYNAMIC_DISPATCH(ConvRow)
      (rows, W, bias.empty() ? nullptr : bias.data(), silu, begin, end, Y.row(t).data());
    }
    remember(X, begin, end, past);
  });
}

}  // namespace hunch
#endif
