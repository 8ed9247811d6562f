#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemv_int8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"  // before foreach_target
#include "kernels/gemv.h"

#include <algorithm>
#include <cstring>

#include "base/codec_blocks.h"
#include "base/error.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/dot_unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// The n elements of `u` times x, with both scales applied.
template <class Format>
HWY_INLINE float DotUnpacked(const Unpacked& u, const int8_t* x, const float* x_scale, size_t n) {
  constexpr size_t kSub = Format::kSub;
#if HUNCH_INT8_SIMD
  const hn::CappedTag<int8_t, kSub> d8;
  const hn::Repartition<int32_t, decltype(d8)> d32;
  const hn::RebindToFloat<decltype(d32)> df;
  const size_t N = hn::Lanes(d8);
  auto sum = hn::Zero(df);
  for (size_t i = 0; i < n; i += kSub) {
    auto dots = hn::Zero(d32);
    for (size_t j = i; j < i + kSub; j += N) dots = DotSigned(dots, hn::Load(d8, u.q + j), hn::LoadU(d8, x + j));
    sum = hn::MulAdd(hn::ConvertTo(df, dots), hn::Set(df, u.scale[i / kSub] * x_scale[i / 32]), sum);
  }
  return hn::GetLane(hn::SumOfLanes(df, sum));
#else
  float sum = 0;
  for (size_t i = 0; i < n; i += kSub) {
    int32_t dot = 0;
    for (size_t j = i; j < i + kSub; ++j) dot += int32_t(u.q[j]) * x[j];
    sum += u.scale[i / kSub] * x_scale[i / 32] * float(dot);
  }
  return sum;
#endif
}

// Rows one by one, unpacked by groups of 256 and multiplied with every token while they are in L1.
template <class Format>
void GemvUnpacked(const GemvArgs& a, const QuantizedX& x, size_t begin, size_t end) {
  Unpacked u;
  for (size_t i = begin; i < end; ++i) {
    const std::byte* w = a.W.data + (a.ids ? a.ids[i] : i) * a.W.row_stride_bytes;
    for (size_t t = 0; t < x.n_tokens; ++t) a.y[t * a.y_stride + i] = a.bias ? a.bias[i] : 0.0f;
    for (size_t at = 0; at < a.W.cols; at += 256) {
      const size_t n = std::min<size_t>(256, a.W.cols - at);
      UnpackGroup<Format>(w + at / Format::kBlockElems * Format::kBlockBytes, n, u);
      for (size_t t = 0; t < x.n_tokens; ++t) {
        float sum = DotUnpacked<Format>(u, x.q_row(t) + at, x.scale_row(t) + at / 32, n);
        if constexpr (Format::kHasMin) {
          const float* scaled_sum = x.scaled_sum_row(t) + at / 32;
          for (size_t j = 0; j < 8; ++j) sum -= u.min[j] * scaled_sum[j];
        }
        a.y[t * a.y_stride + i] += sum;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#undef HUNCH_GEMV_AVX512
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define HUNCH_GEMV_AVX512 1
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
#include "kernels/gemv_int8_avx512-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#else
#define HUNCH_GEMV_AVX512 0
#endif

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

void GemvInt8(const GemvArgs& a, const QuantizedX& x, const std::byte* packed, size_t begin, size_t end) {
  if (begin >= end) return;
#if HUNCH_GEMV_AVX512
  if (packed != nullptr) {
    switch (a.W.dtype) {
      case DType::kQ8_0: return vnni::GemvRange<vnni::RowQ8_0>(a, x, packed, begin, end);
      case DType::kQ4_0: return vnni::GemvRange<vnni::RowQ4_0>(a, x, packed, begin, end);
      case DType::kQ4_K: return vnni::GemvRange<vnni::RowQ4_K>(a, x, packed, begin, end);
      case DType::kQ5_K: return vnni::GemvRange<vnni::RowQ5_K>(a, x, packed, begin, end);
      case DType::kQ6_K: return vnni::GemvRange<vnni::RowQ6_K>(a, x, packed, begin, end);
      default: break;
    }
  }
#endif
  switch (a.W.dtype) {
    case DType::kQ8_0: return GemvUnpacked<FormatQ8_0>(a, x, begin, end);
    case DType::kQ4_0: return GemvUnpacked<FormatQ4_0>(a, x, begin, end);
    case DType::kQ4_K: return GemvUnpacked<FormatQ4_K>(a, x, begin, end);
    case DType::kQ5_K: return GemvUnpacked<FormatQ5_K>(a, x, begin, end);
    case DType::kQ6_K: return GemvUnpacked<FormatQ6_K>(a, x, begin, end);
    default: HUNCH_CHECK(false, "gemv_int8 on {}", name_of(a.W.dtype));
  }
}

size_t PackedBytes(DType dtype, const QuantizedX& x) {
#if HUNCH_GEMV_AVX512
  const auto bytes = [&](size_t elems, size_t group_bytes) { return x.n_tokens * (x.n_padded / elems) * group_bytes; };
  if (has_avx512_vnni()) {
    switch (dtype) {
      case DType::kQ8_0: return bytes(vnni::PackedQ8_0::kElems, sizeof(vnni::PackedQ8_0));
      case DType::kQ4_0: return bytes(vnni::PackedQ4_0::kElems, sizeof(vnni::PackedQ4_0));
      case DType::kQ4_K:
      case DType::kQ5_K: return bytes(vnni::PackedQ4_K::kElems, sizeof(vnni::PackedQ4_K));
      case DType::kQ6_K: return bytes(vnni::PackedQ6_K::kElems, sizeof(vnni::PackedQ6_K));
      default: break;
    }
  }
#endif
  return 0;
}

void Pack(DType dtype, const QuantizedX& x, std::byte* packed) {
#if HUNCH_GEMV_AVX512
  switch (dtype) {
    case DType::kQ8_0: return vnni::Pack<vnni::PackedQ8_0>(x, packed);
    case DType::kQ4_0: return vnni::Pack<vnni::PackedQ4_0>(x, packed);
    case DType::kQ4_K:
    case DType::kQ5_K: return vnni::Pack<vnni::PackedQ4_K>(x, packed);
    case DType::kQ6_K: return vnni::Pack<vnni::PackedQ6_K>(x, packed);
    default: break;
  }
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(GemvInt8);
HWY_EXPORT(PackedBytes);
HWY_EXPORT(Pack);

void gemv_int8(const GemvArgs& args, const QuantizedX& x, const std::byte* packed, size_t begin, size_t end) {
  HWY_DYNAMIC_DISPATCH(GemvInt8)(args, x, packed, begin, end);
}
int gemv_int8_packing(DType dtype) { return int(dtype == DType::kQ5_K ? DType::kQ4_K : dtype); }
size_t gemv_int8_packed_bytes(DType dtype, const QuantizedX& x) { return HWY_DYNAMIC_DISPATCH(PackedBytes)(dtype, x); }
void gemv_int8_pack(DType dtype, const QuantizedX& x, std::byte* packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(dtype, x, packed);
}
}  // namespace hunch
#endif
