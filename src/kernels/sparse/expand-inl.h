// Blocks of sparse strips (kernels/sparse_strips.h) as the codes of dense ones, for one set of instructions. No include
// guard: kernels/sparse_strips.cc includes it inside namespace HWY_NAMESPACE, twice, as strips/codes_dot-inl.h.
//
// Expanded<F, kTwo>: Next() takes the next block; Get(v, u) gives u[k], the unsigned codes of columns 4 k .. 4 k + 3 of
// the rows of slice v, zeros being StripShape<F>::kCodes.offset.

#undef HUNCH_EXPANDS
#if HUNCH_VNNI && HWY_TARGET <= HWY_AVX3  // then there is vpexpandb, and vpmultishiftqb too: has_avx512_expand()
#define HUNCH_EXPANDS 1
#else
#define HUNCH_EXPANDS 0
#endif

#if HUNCH_EXPANDS

// Two of four, as they lie.
template <class F>
class Pairs {
 public:
  static constexpr bool kNibbles = StripShape<F>::kCodes.bits == 4;
  static constexpr size_t kBlockBytes = pair_block_bytes(kNibbles);
  const __m512i offset;

  // (gcc 12 gives the constructor that it would make itself no set of instructions.)
  HWY_INLINE Pairs()
      : offset(_mm512_set1_epi8(char(StripShape<F>::kCodes.offset))),
        shifts_(_mm512_setr_epi64(0x0009000600030000, 0x00150012000f000c, 0x0021001e001b0018, 0x002d002a00270024,
                                  0x0009000600030000, 0x00150012000f000c, 0x0021001e001b0018, 0x002d002a00270024)),
        pairs_(_mm512_broadcast_i64x4(
            _mm256_setr_epi64x(0x0201030002000100, 0x0000000003020301, 0x0605070406040504, 0x0000000007060705))) {}
  // The patterns of eight columns (g of the block at p), as they lie: those of the upper eight rows in the upper half.
  static HWY_INLINE __m512i Patterns(const std::byte* p, size_t g) {
    const auto* at = reinterpret_cast<const __m128i*>(p + kPatternBytesOf8 * g);
    const auto* upper = reinterpret_cast<const __m128i*>(p + kPatternBytesOf8 * g + 6);
    return _mm512_mask_broadcastq_epi64(_mm512_broadcastq_epi64(_mm_loadl_epi64(at)), 0xf0, _mm_loadl_epi64(upper));
  }
  // For every two values, which pair of x they meet: the pattern, and 8 where it is of the last four columns.
  HWY_INLINE __m512i Which(const std::byte* p, size_t g) const {
    const __m512i which = _mm512_multishift_epi64_epi8(shifts_, Patterns(p, g));
    constexpr int kFirstWhereSecondElseThird = 0xca;
    return _mm512_ternarylogic_epi32(_mm512_set1_epi16(7), which, _mm512_set1_epi32(8 << 16),
                                     kFirstWhereSecondElseThird);
  }
  // A row's four values in each 32 bits.
  static HWY_INLINE __m512i Values(const std::byte* p, size_t g) {
    p += kPatternBytes;
    if constexpr (!kNibbles) return _mm512_loadu_si512(p + 64 * g);
    const __m512i both = _mm512_loadu_si512(p + 64 * (g / 2));
    return _mm512_and_si512(g % 2 ? _mm512_srli_epi16(both, 4) : both, _mm512_set1_epi8(15));
  }
  // The four of eight columns of x that each row's values meet.
  HWY_INLINE __m512i Take(const int8_t* x, __m512i which) const {
    const __m512i eight = _mm512_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
    return _mm512_permutexvar_epi16(which, _mm512_shuffle_epi8(eight, pairs_));
  }

 private:
  __m512i shifts_;  // where the pattern of each 16 bits begins in its half's
  __m512i pairs_;   // kPairs of the first four columns and of the last four, in halves of 32 bytes; these twice
};

template <class F, bool kTwo>
class Expanded : public StripBlocks<kTwo> {
 public:
  using StripBlocks<kTwo>::StripBlocks;
  HWY_INLINE void Next() { kTwo ? ReadPairs() : ReadMasks(); }
  HWY_INLINE void Get(size_t, VU8 (&u)[8]) const { HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) u[k] = u_[k]; }

 private:
  using StripBlocks<kTwo>::masked_;
  using StripBlocks<kTwo>::pairs_at_;
  static constexpr bool kNibbles = StripShape<F>::kCodes.bits == 4;

  // Compilers let vpexpandb read memory itself, which is slow on Zen 5 (docs/sparse-weights.md).
  static HWY_INLINE void InRegister(__m512i& v) { asm("" : "+v"(v)); }

  HWY_INLINE void ReadMasks() {
    const __m512i none = _mm512_set1_epi8(char(StripShape<F>::kCodes.offset));
    auto [masks, values] = masked_.next();
    HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) {
      uint64_t mask;
      std::memcpy(&mask, masks + 8 * k, 8);
      const auto n = size_t(_mm_popcnt_u64(mask));
      __m512i codes;
      if constexpr (kNibbles) {
        const __m512i both = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
        codes = _mm512_and_si512(_mm512_or_si512(both, _mm512_slli_epi16(both, 4)), _mm512_set1_epi8(15));
        values += (n + 1) / 2;
      } else {
        codes = _mm512_loadu_si512(values);
        values += n;
      }
      InRegister(codes);
      u_[k] = VU8{_mm512_mask_expand_epi8(none, mask, codes)};
    }
    masked_.end(values);
  }

  // Each row's two values in the low bytes of a lane of 32 bits, beside a byte of what zeros are.
  HWY_INLINE void ReadPairs() {
    // Of each pattern: for the four columns, which byte of the lane. Twice: look-ups take four bits of an index.
    const __m512i table = _mm512_broadcast_i64x4(
        _mm256_setr_epi32(0x02020100, 0x02010200, 0x01020200, 0x02010002, 0x01020002, 0x01000202, 0, 0));
    const __m512i lane = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    const __m512i none = _mm512_set1_epi32(StripShape<F>::kCodes.offset << 16);
    const __m512i first = _mm512_broadcast_i64x4(
        _mm256_setr_epi64x(0x0000000600000000, 0x000000120000000c, 0x0000001e00000018, 0x0000002a00000024));
    const __m512i steps[2] = {first, _mm512_add_epi32(first, _mm512_set1_epi32(3))};
    HWY_UNROLL(4) for (size_t g = 0; g < 4; ++g) {
      const __m512i patterns = Pairs<F>::Patterns(pairs_at_, g), four = Pairs<F>::Values(pairs_at_, g);
      HWY_UNROLL(2) for (size_t half = 0; half < 2; ++half) {
        const __m512i which = _mm512_multishift_epi64_epi8(steps[half], patterns);
        const __m512i from = _mm512_or_si512(_mm512_permutexvar_epi32(which, table), lane);
        const __m512i two = half ? _mm512_srli_epi32(four, 16) : _mm512_and_si512(four, _mm512_set1_epi32(0xffff));
        u_[2 * g + half] = VU8{_mm512_shuffle_epi8(_mm512_or_si512(two, none), from)};
      }
    }
    pairs_at_ += Pairs<F>::kBlockBytes;
  }

  VU8 u_[8];
};

#else

template <class F, bool kTwo>
class Expanded : public StripBlocks<kTwo> {
 public:
  using StripBlocks<kTwo>::StripBlocks;
  HWY_INLINE void Next() { kTwo ? ReadPairs() : ReadMasks(); }
  HWY_INLINE void Get(size_t v, VU8 (&u)[8]) const {
    HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) u[k] = hn::Load(DU8(), lines_ + 64 * k + v * kSliceBytes);
  }

 private:
  using StripBlocks<kTwo>::masked_;
  using StripBlocks<kTwo>::pairs_at_;
  static constexpr bool kNibbles = StripShape<F>::kCodes.bits == 4;

  // to[0 .. 8) = the bytes of `low` that `from` names, 8 being what zeros are.
  static HWY_INLINE void Place(uint64_t low, const uint8_t* from, uint8_t* to) {
    const hn::Full128<uint64_t> d64;
    const hn::Full128<uint8_t> d8;
    const hn::Full64<uint8_t> half;
    constexpr uint64_t kNone = StripShape<F>::kCodes.offset;
    const auto bytes = hn::BitCast(d8, hn::InterleaveLower(d64, hn::Set(d64, low), hn::Set(d64, kNone)));
    const auto which = hn::ZeroExtendVector(d8, hn::LoadU(half, from));
    hn::StoreU(hn::LowerHalf(half, hn::TableLookupBytes(bytes, which)), half, to);
  }
  static HWY_INLINE uint64_t Eight(const uint8_t* p) {
    uint64_t low;
    std::memcpy(&low, p, 8);
    return low;
  }

  HWY_NOINLINE void ReadMasks() {
    const MaskedBlocks::Block block = masked_.next();
    const auto* values = reinterpret_cast<const uint8_t*>(block.values);
    HWY_ALIGN uint8_t codes[64 + 8];
    for (size_t k = 0; k < 8; ++k) {
      uint64_t mask;
      std::memcpy(&mask, block.masks + 8 * k, 8);
      const uint8_t* from = values;
      if constexpr (kNibbles) {
        const size_t n_bytes = (size_t(hwy::PopCount(mask)) + 1) / 2;
        const hn::Full128<uint8_t> d8;
        for (size_t i = 0; i < n_bytes; i += 16) {
          const auto both = hn::LoadU(d8, values + i);
          const auto low = hn::And(both, hn::Set(d8, uint8_t(15)));
          const auto high = RightNibbles(both);
          hn::StoreU(hn::InterleaveLower(d8, low, high), d8, codes + 2 * i);
          hn::StoreU(hn::InterleaveUpper(d8, low, high), d8, codes + 2 * i + 16);
        }
        from = codes;
        values += n_bytes;
      }
      uint8_t* to = lines_ + 64 * k;
      for (size_t i = 0; i < 8; ++i, mask >>= 8) {
        Place(Eight(from), kPlaces.of[mask & 255], to + 8 * i);
        from += kPlaces.count[mask & 255];
      }
      if constexpr (!kNibbles) values = from;
    }
    masked_.end(reinterpret_cast<const std::byte*>(values));
  }

  // A row's eight columns at once: the patterns of both fours, and its four values.
  HWY_NOINLINE void ReadPairs() {
    const auto* values = reinterpret_cast<const uint8_t*>(pairs_at_) + kPatternBytes;
    for (size_t g = 0; g < 4; ++g) {
      const uint8_t* line = values + 64 * (kNibbles ? g / 2 : g);
      for (size_t half = 0; half < 2; ++half) {
        uint64_t patterns;
        std::memcpy(&patterns, pairs_at_ + kPatternBytesOf8 * g + 6 * half, 8);
        for (size_t row = 8 * half; row < 8 * half + 8; ++row, patterns >>= 6) {
          uint32_t four;
          std::memcpy(&four, line + 4 * row, 4);
          if constexpr (kNibbles) four = four >> (g % 2 ? 4 : 0) & 0x0f0f0f0f;
          HWY_ALIGN uint8_t placed[8];
          Place(four, kPairPlaces.of[patterns & 63], placed);
          std::memcpy(lines_ + 128 * g + 4 * row, placed, 4);
          std::memcpy(lines_ + 128 * g + 64 + 4 * row, placed + 4, 4);
        }
      }
    }
    pairs_at_ += pair_block_bytes(kNibbles);
  }

  template <class V>
  static HWY_INLINE V RightNibbles(V v) {
    const hn::Full128<uint16_t> d16;
    const hn::Full128<uint8_t> d8;
    return hn::And(hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, v))), hn::Set(d8, uint8_t(15)));
  }

  alignas(64) uint8_t lines_[8 * 64];
};

#endif
