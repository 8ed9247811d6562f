// Rows of keys and values in KIVI's codes as f32 (kernels/kv_groups.h).
// clang-format off
#if defined(HUNCH_KERNELS_KV_GROUPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_KV_GROUPS_INL_H_
#undef HUNCH_KERNELS_KV_GROUPS_INL_H_
#else
#define HUNCH_KERNELS_KV_GROUPS_INL_H_
#endif
// clang-format on
#include <cstring>

#include "hwy/highway.h"
#include "kernels/kv_groups.h"
#include "kernels/promote_f16-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DG = hn::CappedTag<float, 16>;  // as many lanes as divide half a piece

// Codes i, i + 1, ... of a piece, as numbers; i is a multiple of the lanes.
template <size_t kBits>
HWY_INLINE hn::Vec<DG> codes_at(const uint8_t* piece, size_t i) {
  const DG d;
  const hn::RebindToUnsigned<DG> du;
  const hn::RebindToSigned<DG> di;
  if constexpr (kBits == 2) {
    uint32_t word;
    std::memcpy(&word, piece + i / 16 * 4, sizeof word);
    word >>= i % 16 * 2;
    const auto bits = hn::Shr(hn::Set(du, word), hn::ShiftLeft<1>(hn::Iota(du, 0)));
    return hn::ConvertTo(d, hn::BitCast(di, hn::And(bits, hn::Set(du, 3))));
  } else {
    const hn::Rebind<uint8_t, DG> d8;
    const auto bytes = hn::PromoteTo(du, hn::LoadU(d8, piece + i % 16));
    const auto bits = i < 16 ? hn::And(bytes, hn::Set(du, 15)) : hn::ShiftRight<4>(bytes);
    return hn::ConvertTo(d, hn::BitCast(di, bits));
  }
}

HWY_INLINE hn::Vec<DG> halves_at(const std::byte* halves, size_t i) {
  const DG d;
  const hn::Rebind<hwy::float16_t, DG> dh;
  return PromoteF16(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(halves) + i));
}

template <size_t kBits>
HWY_INLINE void unpack_key_row(const std::byte* group, size_t token, size_t d_head, float* to) {
  const DG d;
  const size_t lanes = hn::Lanes(d), row = d_head / kKvGroup * kv_piece_bytes(kBits);
  const std::byte* const minima = group + d_head * sizeof(f16);
  const auto* piece = reinterpret_cast<const uint8_t*>(minima + d_head * sizeof(f16)) + token * row;
  for (size_t first = 0; first < d_head; first += kKvGroup, piece += kv_piece_bytes(kBits))
    for (size_t i = 0; i < kKvGroup; i += lanes)
      hn::StoreU(hn::MulAdd(codes_at<kBits>(piece, i), halves_at(group, first + i), halves_at(minima, first + i)), d,
                 to + first + i);
}

template <size_t kBits>
HWY_INLINE void unpack_value_row(const std::byte* row, size_t d_head, float* to) {
  const DG d;
  const size_t lanes = hn::Lanes(d);
  for (size_t first = 0; first < d_head; first += kKvGroup, row += 2 * sizeof(f16) + kv_piece_bytes(kBits)) {
    f16 both[2];
    std::memcpy(both, row, sizeof both);
    const auto scale = hn::Set(d, to_f32(both[0])), minimum = hn::Set(d, to_f32(both[1]));
    const auto* const piece = reinterpret_cast<const uint8_t*>(row + sizeof both);
    for (size_t i = 0; i < kKvGroup; i += lanes)
      hn::StoreU(hn::MulAdd(codes_at<kBits>(piece, i), scale, minimum), d, to + first + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
