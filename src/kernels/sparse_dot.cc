#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sparse_dot.cc"
#include "kernels/sparse_dot.h"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "formats/strip_shape.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/gemm.h"
#include "kernels/sparse/blocks.h"
#include "kernels/sparse/places.h"
#include "kernels/strips/strip-inl.h"

#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
// Tokens whose sums stay in registers.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kMostStripTokens = 8;
#else
constexpr size_t kMostStripTokens = 2;
#endif
#undef HUNCH_VNNI
#define HUNCH_VNNI 0
#include "kernels/sparse/dot-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#undef HUNCH_HAS_VNNI
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#undef HUNCH_VNNI
#define HUNCH_VNNI 1
#if HWY_TARGET <= HWY_AVX3
#define HUNCH_HAS_VNNI has_avx512_expand()
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni,avx512vbmi,avx512vbmi2")
#else
#define HUNCH_HAS_VNNI has_avx_vnni()
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avxvnni")
#endif
namespace hunch {
namespace HWY_NAMESPACE {
#include "kernels/sparse/dot-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif
#endif  // HUNCH_INT8_SIMD

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
#if HUNCH_INT8_SIMD

bool MultipliesSparse() { return true; }
void DotSparse(const SparseStrips& W, const QuantizedX& x, const float* bias, MatView<float> Y, size_t begin,
               size_t end) {
#ifdef HUNCH_HAS_VNNI
  if (HUNCH_HAS_VNNI) return vnni_sparse::Dot(W, x, bias, Y, begin, end);
#endif
  plain_sparse::Dot(W, x, bias, Y, begin, end);
}
void ExpandSparse(const SparseStrips& W, size_t i, std::byte* out) {
#ifdef HUNCH_HAS_VNNI
  if (HUNCH_HAS_VNNI) return vnni_sparse::Expand(W, i, out);
#endif
  plain_sparse::Expand(W, i, out);
}

#else
bool MultipliesSparse() { return false; }
void DotSparse(const SparseStrips&, const QuantizedX&, const float*, MatView<float>, size_t, size_t) {
  HUNCH_CHECK(false, "no strips on this target");
}
void ExpandSparse(const SparseStrips&, size_t, std::byte*) { HUNCH_CHECK(false, "no strips on this target"); }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(MultipliesSparse);
HWY_EXPORT(DotSparse);
HWY_EXPORT(ExpandSparse);

bool multiplies_sparse() { return HWY_DYNAMIC_DISPATCH(MultipliesSparse)(); }
bool panels_take_strips() { return multiplies_sparse() && gemm_int8_panel_rows() >= kStripRows; }
void dot_sparse(const SparseStrips& W, const QuantizedX& x, const float* bias, MatView<float> Y, size_t begin,
                size_t end) {
  HWY_DYNAMIC_DISPATCH(DotSparse)(W, x, bias, Y, begin, end);
}
void expand_sparse(const SparseStrips& W, size_t i, std::byte* out) { HWY_DYNAMIC_DISPATCH(ExpandSparse)(W, i, out); }
}  // namespace hunch
#endif
