// Attention for few rows over KIVI's groups, as codes: a row's query takes a group's scales in, once for 32 keys, and
// the sum of values takes theirs with the weights, so that no number is decoded that is not multiplied next.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_GROUPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_GROUPS_INL_H_
#undef HUNCH_KERNELS_ATTENTION_GROUPS_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_GROUPS_INL_H_
#endif
// clang-format on
#include <algorithm>

#include "hwy/highway.h"
#include "kernels/attention_decode-inl.h"
#include "kernels/attention_tile-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// Keys of a group from number `first` on, and values of a head from a row on. In place of pointers to rows: n_values
// further is n_values / d_head rows further.
template <size_t kBits>
struct GroupKeys {
  const std::byte* group;
  size_t first, d_head;
  float* scratch;  // [2, d_head]
  HWY_INLINE GroupKeys operator+(size_t n_values) const { return {group, first + n_values / d_head, d_head, scratch}; }
};
template <size_t kBits>
struct GroupValues {
  const std::byte* rows;
  size_t d_head;
  HWY_INLINE GroupValues operator+(size_t n_values) const {
    return {rows + n_values / d_head * kv_value_row_bytes(kBits, d_head), d_head};
  }
};
// A run of keys within one group.
template <size_t kBits>
struct GroupTile {
  GroupKeys<kBits> k;
  GroupValues<kBits> v;
  size_t begin, n_keys;
};

// As dot_keys() of rows.
template <size_t R, size_t kBits>
HWY_INLINE void dot_keys(const float* const* q, GroupKeys<kBits> k, size_t n_keys, size_t d_head, float* const* scores,
                         Lines& ahead, size_t n_ahead) {
  const DG d;
  const size_t lanes = hn::Lanes(d), row = d_head / kKvGroup * kv_piece_bytes(kBits);
  const std::byte* const minima = k.group + d_head * sizeof(f16);
  float base[R];
  for (size_t r = 0; r < R; ++r) {
    auto sum = hn::Zero(d);
    for (size_t i = 0; i < d_head; i += lanes) {
      const auto query = hn::LoadU(d, q[r] + i);
      hn::StoreU(hn::Mul(query, halves_at(k.group, i)), d, k.scratch + r * d_head + i);
      sum = hn::MulAdd(query, halves_at(minima, i), sum);
    }
    base[r] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
  const auto* codes = reinterpret_cast<const uint8_t*>(minima + d_head * sizeof(f16)) + k.first * row;
  for (size_t j = 0; j < n_keys; ++j, codes += row) {
    if (j % 4 == 0) ahead.ask(n_ahead);
    hn::Vec<DG> even[R], odd[R];
    for (size_t r = 0; r < R; ++r) even[r] = odd[r] = hn::Zero(d);
    const uint8_t* piece = codes;
    for (size_t first = 0; first < d_head; first += kKvGroup, piece += kv_piece_bytes(kBits))
      for (size_t i = 0; i < kKvGroup; i += 2 * lanes) {
        const auto a = codes_at<kBits>(piece, i), b = codes_at<kBits>(piece, i + lanes);
        for (size_t r = 0; r < R; ++r) {
          const float* const scaled = k.scratch + r * d_head + first + i;
          even[r] = hn::MulAdd(a, hn::LoadU(d, scaled), even[r]);
          odd[r] = hn::MulAdd(b, hn::LoadU(d, scaled + lanes), odd[r]);
        }
      }
    for (size_t r = 0; r < R; ++r) scores[r][j] = base[r] + hn::GetLane(hn::SumOfLanes(d, hn::Add(even[r], odd[r])));
  }
}

// As mix_values() of rows; n_keys is at most a group's.
template <size_t R, size_t kBits>
HWY_INLINE void mix_values(const float* const* weights, GroupValues<kBits> v, size_t n_keys, size_t d_head,
                           const float* alpha, float* const* mix, Lines& ahead, size_t n_ahead) {
  const DG d;
  constexpr size_t kLanes = hn::MaxLanes(DG()), kVectors = kKvGroup / kLanes;
  const size_t row = kv_value_row_bytes(kBits, d_head), block = row / (d_head / kKvGroup);
  f16 raw[2 * kKvGroup] = {};
  float scales[2 * kKvGroup];  // of each key a scale and a minimum
  for (size_t first = 0; first < d_head; first += kKvGroup) {
    const std::byte* const at = v.rows + first / kKvGroup * block;
    for (size_t j = 0; j < n_keys; ++j) std::memcpy(raw + 2 * j, at + j * row, 2 * sizeof(f16));
    for (size_t i = 0; i < 2 * n_keys; i += kLanes)
      hn::StoreU(halves_at(reinterpret_cast<const std::byte*>(raw), i), d, scales + i);
    hn::Vec<DG> sum[R][kVectors];
    float minima[R] = {};
    for (size_t r = 0; r < R; ++r)
      for (size_t n = 0; n < kVectors; ++n)
        sum[r][n] = hn::Mul(hn::LoadU(d, mix[r] + first + n * kLanes), hn::Set(d, alpha[r]));
    for (size_t j = 0; j < n_keys; ++j) {
      if (first == 0) ahead.ask(n_ahead);
      const auto* const piece = reinterpret_cast<const uint8_t*>(at + j * row + 2 * sizeof(f16));
      hn::Vec<DG> weight[R];
      for (size_t r = 0; r < R; ++r) {
        weight[r] = hn::Set(d, weights[r][j] * scales[2 * j]);
        minima[r] += weights[r][j] * scales[2 * j + 1];
      }
      for (size_t n = 0; n < kVectors; ++n) {
        const auto codes = codes_at<kBits>(piece, n * kLanes);
        for (size_t r = 0; r < R; ++r) sum[r][n] = hn::MulAdd(codes, weight[r], sum[r][n]);
      }
    }
    for (size_t r = 0; r < R; ++r)
      for (size_t n = 0; n < kVectors; ++n)
        hn::StoreU(hn::Add(sum[r][n], hn::Set(d, minima[r])), d, mix[r] + first + n * kLanes);
  }
}

// Calls body(tile, next) for the keys [begin, end) of whole groups, and then with rows of f16 for those of the tail.
template <size_t kBits, class Body>
HWY_INLINE void for_each_group(const AttentionBlock& block, float* scratch, const Body& body) {
  const KvView& kv = block.span->kv;
  const size_t row = kv_value_row_bytes(kBits, kv.d_head), group_bytes = kKvGroup * row;
  for (size_t begin = block.key_begin; begin < block.key_end;) {
    const size_t first = begin % kKvGroup, n_keys = std::min(block.key_end - begin, kKvGroup - first);
    if (begin >= kv.groups.first_tail) {
      body(Tile<f16>{tail_row(block, false, begin), tail_row(block, true, begin), begin, n_keys}, NextTile());
    } else {
      const auto of_page = [&](size_t page) { return kv.pages[page] + block.kv_head * group_bytes; };
      const std::byte* const group = of_page(begin / kKvGroup);
      NextTile next;
      if (begin + n_keys < std::min(block.key_end, kv.groups.first_tail)) {
        const std::byte* const after = of_page(begin / kKvGroup + 1);
        next = {Lines::of(after, group_bytes), Lines::of(after + kv.v_offset_bytes, group_bytes)};
      }
      body(
          GroupTile<kBits>{
              {group, first, kv.d_head, scratch}, {group + kv.v_offset_bytes + first * row, kv.d_head}, begin, n_keys},
          next);
    }
    begin += n_keys;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
