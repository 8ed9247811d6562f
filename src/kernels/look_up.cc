#include "kernels/look_up.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/look_up.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/formats/decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

void LookUp(const WeightView& W, size_t id, float* y) {
  with_format(W.dtype, [&](auto f) { DecodeRow<decltype(f)>(W.row(id), W.cols, y); });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(LookUp);

void look_up_rows(Compute& compute, const WeightView& W, std::span<const int32_t> ids, MatView<float> Y) {
  HUNCH_CHECK(Y.rows == ids.size() && Y.cols == W.cols, "Y is [{}, {}] for {} rows of {}", Y.rows, Y.cols, ids.size(),
              W.cols);
  for (const int32_t id : ids) HUNCH_CHECK(id >= 0 && size_t(id) < W.rows, "row {} of {}", id, W.rows);
  compute.meter.read_weights(ids.size() * row_bytes(W.dtype, W.cols));
  compute.threads.parallel_for(ids.size(), 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) HWY_DYNAMIC_DISPATCH(LookUp)(W, size_t(ids[t]), Y.row(t).data());
  });
}

}  // namespace hunch
#endif  // HWY_ONCE
