#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_int8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "formats/strip_shape.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/formats/all-inl.h"
#include "kernels/strips/strip-inl.h"
#include "kernels/transpose4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
#undef HUNCH_VNNI
#define HUNCH_VNNI 0
#include "kernels/gemm_int8-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#undef HUNCH_HAS_VNNI
#if HUNCH_INT8_SIMD && HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#undef HUNCH_VNNI
#define HUNCH_VNNI 1
#if HWY_TARGET <= HWY_AVX3
#define HUNCH_HAS_VNNI has_avx512_vnni()
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
#define HUNCH_HAS_VNNI has_avx_vnni()
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avxvnni")
#endif
namespace hunch {
namespace HWY_NAMESPACE {
#include "kernels/gemm_int8-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

void GemmInt8(const GemmArgs& a, const QuantizedX& x, size_t begin, size_t end, std::byte* panel) {
#ifdef HUNCH_HAS_VNNI
  if (HUNCH_HAS_VNNI) return vnni::Gemm(a, x, begin, end, panel);
#endif
  plain::Gemm(a, x, begin, end, panel);
}
size_t GemmInt8PanelRows() { return plain::PanelRows(); }
size_t GemmInt8PanelBytes() { return round_up(plain::Panel::Bytes(), 64); }

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(GemmInt8);
HWY_EXPORT(GemmInt8PanelRows);
HWY_EXPORT(GemmInt8PanelBytes);

void gemm_int8(const GemmArgs& args, const QuantizedX& x, size_t begin, size_t end, std::byte* panel) {
  HWY_DYNAMIC_DISPATCH(GemmInt8)(args, x, begin, end, panel);
}
size_t gemm_int8_panel_rows() { return HWY_DYNAMIC_DISPATCH(GemmInt8PanelRows)(); }
size_t gemm_int8_panel_bytes() { return HWY_DYNAMIC_DISPATCH(GemmInt8PanelBytes)(); }
}  // namespace hunch
#endif
