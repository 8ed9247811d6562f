#include "kernels/delta_rule.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/delta_rule.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/vec_math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// The sum of f(i, load, store) over vectors i of n elements, the last of which may be short.
template <class F>
HWY_INLINE float sum_of(size_t n, const F& f) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const auto load = [&](const float* p) { return hn::LoadU(d, p); };
  const auto store = [&](VF v, float* p) { hn::StoreU(v, d, p); };
  VF sum0 = hn::Zero(d), sum1 = sum0;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    sum0 = f(i, load, store, sum0);
    sum1 = f(i + lanes, load, store, sum1);
  }
  if (i + lanes <= n) {
    sum0 = f(i, load, store, sum0);
    i += lanes;
  }
  if (const size_t rest = n - i; rest > 0)
    sum1 = f(
        i, [&](const float* p) { return load_tail(d, p, rest); }, [&](VF v, float* p) { store_tail(v, d, p, rest); },
        sum1);
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

void Rule(const DeltaRule& h) {
  const DF d;
  const size_t n = h.state.cols;
  for (size_t t = 0; t < h.q.rows; ++t) {
    const float *q = h.q.row(t).data(), *k = h.k.row(t).data();
    const std::span<const float> v = h.v.row(t);
    const float decay = h.decay[t], beta = h.beta[t];
    for (size_t i = 0; i < v.size(); ++i) {
      float* s = h.state.row(i).data();
      const float known = decay * sum_of(n, [&](size_t at, const auto& load, const auto&, VF sum) {
                            return hn::MulAdd(load(s + at), load(k + at), sum);
                          });
      const VF a = hn::Set(d, decay), change = hn::Set(d, beta * (v[i] - known));
      h.y.row(t)[i] = sum_of(n, [&](size_t at, const auto& load, const auto& store, VF sum) {
        const VF next = hn::MulAdd(change, load(k + at), hn::Mul(a, load(s + at)));
        store(next, s + at);
        return hn::MulAdd(next, load(q + at), sum);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(Rule);

void delta_rule(const DeltaRule& h) {
  const size_t n = h.q.rows, d_key = h.state.cols, d_value = h.state.rows;
  HUNCH_CHECK(h.k.rows == n && h.v.rows == n && h.y.rows == n && h.decay.size() == n && h.beta.size() == n &&
                  h.q.cols == d_key && h.k.cols == d_key && h.v.cols == d_value && h.y.cols == d_value,
              "delta_rule: q [{}, {}], k [{}, {}], v [{}, {}], state [{}, {}]", n, h.q.cols, h.k.rows, h.k.cols,
              h.v.rows, h.v.cols, d_value, d_key);
  HWY_DYNAMIC_DISPATCH(Rule)(h);
}

}  // namespace hunch
#endif
