#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/strips.cc"
#include "kernels/strips.h"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "formats/strip_shape.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/formats/all-inl.h"
#include "kernels/strips/float_dot-inl.h"
#include "kernels/strips/pack-inl.h"
#include "kernels/strips/strip-inl.h"

#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
constexpr size_t kFewestTokensOfTiles = 5;  // as measured on a Xeon (docs/performance.md)
// Tokens whose sums stay in registers.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kMostStripTokens = 8;
#else
constexpr size_t kMostStripTokens = 2;
#endif
#undef HUNCH_VNNI
#define HUNCH_VNNI 0
#include "kernels/strips/dot-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#undef HUNCH_STRIP_TILES
#define HUNCH_STRIP_TILES 0
#undef HUNCH_HAS_VNNI
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
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
#include "kernels/strips/dot-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#include "kernels/strips/tiles_dot-inl.h"
#endif
#endif  // HUNCH_INT8_SIMD

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
#if HUNCH_INT8_SIMD

bool MultipliesStrips() { return true; }

void PackStrips(const WeightView& W, size_t begin, size_t end, std::byte* out) {
  const size_t stride = strip_bytes(W.dtype, W.cols);
  with_format(W.dtype, [&](BlockFormat auto f) {
    for (size_t i = begin; i < end; ++i) strip::PackStrip<decltype(f)>(W, i * kStripRows, out + i * stride);
  });
}

bool StripsInTiles(size_t n_tokens) {
#if HUNCH_STRIP_TILES
  return n_tokens >= kFewestTokensOfTiles && has_amx_int8();
#else
  return false;
#endif
}

void DotStrips(const GemvArgs& a, const QuantizedX& x, const TokenTiles& tiles, size_t begin, size_t end) {
#if HUNCH_STRIP_TILES
  if (tiles) return tile_strips::Dot(a, tiles, begin, end);
#endif
#ifdef HUNCH_HAS_VNNI
  if (HUNCH_HAS_VNNI) return vnni_strips::Dot(a, x, begin, end);
#endif
  plain_strips::Dot(a, x, begin, end);
}

void DotFloatStrips(const GemvArgs& a, MatView<const float> X, size_t begin, size_t end) {
  with_format(a.W.dtype, [&](FloatBlockFormat auto f) { strip::DotFloatsRange<decltype(f)>(a, X, begin, end); });
}

#else
bool MultipliesStrips() { return false; }
void PackStrips(const WeightView&, size_t, size_t, std::byte*) { HUNCH_CHECK(false, "no strips on this target"); }
bool StripsInTiles(size_t) { return false; }
void DotStrips(const GemvArgs&, const QuantizedX&, const TokenTiles&, size_t, size_t) {
  HUNCH_CHECK(false, "no strips on this target");
}
void DotFloatStrips(const GemvArgs&, MatView<const float>, size_t, size_t) {
  HUNCH_CHECK(false, "no strips on this target");
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(MultipliesStrips);
HWY_EXPORT(PackStrips);
HWY_EXPORT(StripsInTiles);
HWY_EXPORT(DotStrips);
HWY_EXPORT(DotFloatStrips);

bool multiplies_strips() { return HWY_DYNAMIC_DISPATCH(MultipliesStrips)(); }
void pack_strips(const WeightView& W, size_t begin, size_t end, std::byte* out) {
  HWY_DYNAMIC_DISPATCH(PackStrips)(W, begin, end, out);
}
bool strips_in_tiles(size_t n_tokens) { return HWY_DYNAMIC_DISPATCH(StripsInTiles)(n_tokens); }
void dot_strips(const GemvArgs& args, const QuantizedX& x, const TokenTiles& tiles, size_t begin, size_t end) {
  HWY_DYNAMIC_DISPATCH(DotStrips)(args, x, tiles, begin, end);
}
void dot_float_strips(const GemvArgs& args, MatView<const float> X, size_t begin, size_t end) {
  HWY_DYNAMIC_DISPATCH(DotFloatStrips)(args, X, begin, end);
}
}  // namespace hunch
#endif
