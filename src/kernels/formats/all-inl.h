// The kernels' side of every format in formats/table.h. Included inside the kernels, once per target.
#if defined(HUNCH_KERNELS_FORMATS_ALL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_ALL_INL_H_
#undef HUNCH_KERNELS_FORMATS_ALL_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_ALL_INL_H_
#endif
#include "formats/table.h"
#include "hwy/highway.h"
#include "kernels/formats/bf16-inl.h"
#include "kernels/formats/f16-inl.h"
#include "kernels/formats/f32-inl.h"
#include "kernels/formats/four_bit_floats-inl.h"
#include "kernels/formats/fp8-inl.h"
#include "kernels/formats/i8_16-inl.h"
#include "kernels/formats/i8_64-inl.h"
#include "kernels/formats/iq4_nl-inl.h"
#include "kernels/formats/iq4_xs-inl.h"
#include "kernels/formats/mxfp4-inl.h"
#include "kernels/formats/q2_k-inl.h"
#include "kernels/formats/q3_k-inl.h"
#include "kernels/formats/q4_0-inl.h"
#include "kernels/formats/q4_1-inl.h"
#include "kernels/formats/q4_k-inl.h"
#include "kernels/formats/q5_0-inl.h"
#include "kernels/formats/q5_1-inl.h"
#include "kernels/formats/q5_k-inl.h"
#include "kernels/formats/q6_k-inl.h"
#include "kernels/formats/q8_0-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// Not inlined: the callers are templates of many shapes, and a group is work enough for a call.
template <class Format>
HWY_NOINLINE void UnpackGroup(const std::byte* blocks, size_t n, Unpacked& out) {
  Format::Unpack(blocks, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
