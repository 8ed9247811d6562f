#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemv_int8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/gemv.h"

#include <algorithm>
#include <cstring>

#include "kernels/dot_int8-inl.h"
#include "kernels/formats/all-inl.h"

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
          if constexpr (Format::kSub == 32) {
            const float* scaled_sum = x.scaled_sum_row(t) + at / 32;
            for (size_t j = 0; j < 8; ++j) sum -= u.min[j] * scaled_sum[j];
          } else {
            const float* scaled_sum = x.scaled_sum16_row(t) + at / 16;
            for (size_t j = 0; j < 16; ++j) sum -= u.min[j] * scaled_sum[j];
          }
        }
        a.y[t * a.y_stride + i] += sum;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
#include "kernels/gemv_int8_avx512-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

void GemvInt8(const GemvArgs& a, const QuantizedX& x, const std::byte* packed, size_t begin, size_t end) {
  if (begin >= end) return;
  with_format(a.W.dtype, [&](QuantisedFormat auto f) {
    using F = decltype(f);
#if HUNCH_AVX512
    if constexpr (vnni::HasRow<F>) {
      if (packed) return vnni::GemvRange<vnni::Row<F>>(a, x, packed, begin, end);
    }
#endif
    GemvUnpacked<Simd<F>>(a, x, begin, end);
  });
}

// The first format that packs x alike.
DType Packing(DType dtype) {
#if HUNCH_AVX512
  return with_format<DType>(dtype, [&](QuantisedFormat auto f) { return vnni::SamePacking<decltype(f)>(Computing()); });
#else
  return dtype;
#endif
}

size_t PackedBytes(DType dtype, const QuantizedX& x) {
#if HUNCH_AVX512
  if (has_avx512_vnni())
    return with_format<size_t>(dtype, [&](QuantisedFormat auto f) -> size_t {
      using F = decltype(f);
      if constexpr (vnni::HasRow<F>) {
        using Packed = typename vnni::Row<F>::Packed;
        return x.n_tokens * (x.n_padded / Packed::kElems) * sizeof(Packed);
      } else {
        return 0;
      }
    });
#endif
  return 0;
}

void Pack(DType dtype, const QuantizedX& x, std::byte* packed) {
#if HUNCH_AVX512
  with_format(dtype, [&](QuantisedFormat auto f) {
    if constexpr (vnni::HasRow<decltype(f)>) vnni::Pack<typename vnni::Row<decltype(f)>::Packed>(x, packed);
  });
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(GemvInt8);
HWY_EXPORT(Packing);
HWY_EXPORT(PackedBytes);
HWY_EXPORT(Pack);

void gemv_int8(const GemvArgs& args, const QuantizedX& x, const std::byte* packed, size_t begin, size_t end) {
  HWY_DYNAMIC_DISPATCH(GemvInt8)(args, x, packed, begin, end);
}
DType gemv_int8_packing(DType dtype) { return HWY_DYNAMIC_DISPATCH(Packing)(dtype); }
size_t gemv_int8_packed_bytes(DType dtype, const QuantizedX& x) { return HWY_DYNAMIC_DISPATCH(PackedBytes)(dtype, x); }
void gemv_int8_pack(DType dtype, const QuantizedX& x, std::byte* packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(dtype, x, packed);
}
}  // namespace hunch
#endif
