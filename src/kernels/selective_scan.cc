#include "kernels/selective_scan.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/vec_math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// s = decay * s + x * b; returns s . c.
HWY_INLINE float advance(float decay, float x, const float* b, const float* c, size_t n, float* s) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF a = hn::Set(d, decay), xv = hn::Set(d, x);
  VF sum0 = hn::Zero(d), sum1 = sum0;
  size_t i = 0;
  const auto step = [&](size_t at, VF sum) {
    const VF next = hn::MulAdd(xv, hn::LoadU(d, b + at), hn::Mul(a, hn::LoadU(d, s + at)));
    hn::StoreU(next, d, s + at);
    return hn::MulAdd(next, hn::LoadU(d, c + at), sum);
  };
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    sum0 = step(i, sum0);
    sum1 = step(i + lanes, sum1);
  }
  if (i + lanes <= n) {
    sum0 = step(i, sum0);
    i += lanes;
  }
  if (const size_t rest = n - i; rest > 0) {
    const VF next = hn::MulAdd(xv, load_tail(d, b + i, rest), hn::Mul(a, load_tail(d, s + i, rest)));
    store_tail(next, d, s + i, rest);
    sum1 = hn::MulAdd(next, load_tail(d, c + i, rest), sum1);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

void Scan(const SelectiveScan& h) {
  for (size_t t = 0; t < h.x.rows; ++t) {
    const std::span<const float> x = h.x.row(t), b = h.B.row(t), c = h.C.row(t);
    const std::span<float> y = h.y.row(t);
    for (size_t i = 0; i < x.size(); ++i)
      y[i] = advance(h.decay[t], h.dt[t] * x[i], b.data(), c.data(), h.state.cols, h.state.row(i).data()) + h.D * x[i];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(Scan);

void selective_scan(const SelectiveScan& h) {
  const size_t n = h.x.rows, n_state = h.state.cols;
  HUNCH_CHECK(h.B.rows == n && h.C.rows == n && h.decay.size() == n && h.dt.size() == n && h.y.rows == n &&
                  h.y.cols == h.x.cols && h.state.rows == h.x.cols && h.B.cols == n_state && h.C.cols == n_state,
              "selective_scan: x [{}, {}], B [{}, {}], state [{}, {}]", n, h.x.cols, h.B.rows, h.B.cols, h.state.rows,
              n_state);
  HWY_DYNAMIC_DISPATCH(Scan)(h);
}

}  // namespace hunch
#endif
