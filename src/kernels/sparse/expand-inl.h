// Blocks of sparse strips (kernels/sparse_strips.h) as the codes of dense ones, for one set of instructions. No include
// guard: kernels/sparse_strips.cc includes it inside namespace HWY_NAMESPACE, twice, as strips/codes_dot-inl.h.
//
// Expanded<F, kTwo>: Read(p) takes the block at p and returns where the next begins; Get(v, u) gives u[k], the unsigned
// codes of columns 4 k .. 4 k + 3 of the rows of slice v, zeros being StripShape<F>::kCodes.offset.

#undef HUNCH_EXPANDS
#if HUNCH_VNNI && HWY_TARGET <= HWY_AVX3  // then there is vpexpandb, and vpmultishiftqb too: has_avx512_expand()
#define HUNCH_EXPANDS 1
#else
#define HUNCH_EXPANDS 0
#endif

#if HUNCH_EXPANDS

template <class F, bool kTwo>
class Expanded {
 public:
  HWY_INLINE const std::byte* Read(const std::byte* p) { return kTwo ? ReadPairs(p) : ReadMasks(p); }
  HWY_INLINE void Get(size_t, VU8 (&u)[8]) const { HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) u[k] = u_[k]; }

 private:
  static constexpr bool kNibbles = StripShape<F>::kCodes.bits == 4;

  // Compilers let vpexpandb read memory itself, which is slow on Zen 5 (docs/sparse-weights.md).
  static HWY_INLINE void InRegister(__m512i& v) { asm("" : "+v"(v)); }

  HWY_INLINE const std::byte* ReadMasks(const std::byte* p) {
    const __m512i none = _mm512_set1_epi8(char(StripShape<F>::kCodes.offset));
    const std::byte* values = p + 64;
    HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) {
      uint64_t mask;
      std::memcpy(&mask, p + 8 * k, 8);
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
    return values;
  }

  // Each row's two values stand in the low bytes of a lane of 32 bits, beside a byte of what zeros are.
  HWY_INLINE const std::byte* ReadPairs(const std::byte* p) {
    // Of each pattern: for the four columns, which byte of the lane. Twice: look-ups take four bits of an index.
    const __m512i table = _mm512_broadcast_i64x4(
        _mm256_setr_epi32(0x02020100, 0x02010200, 0x01020200, 0x02010002, 0x01020002, 0x01000202, 0, 0));
    const __m512i lane = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    const __m512i shifts =
        _mm512_setr_epi64(0x0000000300000000, 0x0000000900000006, 0x0000000f0000000c, 0x0000001500000012,
                          0x0000001b00000018, 0x000000210000001e, 0x0000002700000024, 0x0000002d0000002a);
    const __m512i none = _mm512_set1_epi32(StripShape<F>::kCodes.offset << 16);
    const std::byte* values = p + 48;
    HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) {
      uint64_t patterns;  // of which 48 bits are this line's
      std::memcpy(&patterns, p + 6 * k, 8);
      const __m512i which = _mm512_multishift_epi64_epi8(shifts, _mm512_set1_epi64(int64_t(patterns)));
      const __m512i from = _mm512_or_si512(_mm512_permutexvar_epi32(which, table), lane);
      __m512i two;
      if constexpr (kNibbles) {
        const __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
        two = _mm512_and_si512(_mm512_or_si512(both, _mm512_slli_epi32(both, 4)), _mm512_set1_epi32(0x0f0f));
        values += 16;
      } else {
        two = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
        values += 32;
      }
      u_[k] = VU8{_mm512_shuffle_epi8(_mm512_or_si512(two, none), from)};
    }
    return values;
  }

  VU8 u_[8];
};

#else

template <class F, bool kTwo>
class Expanded {
 public:
  HWY_INLINE const std::byte* Read(const std::byte* p) { return kTwo ? ReadPairs(p) : ReadMasks(p); }
  HWY_INLINE void Get(size_t v, VU8 (&u)[8]) const {
    HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) u[k] = hn::Load(DU8(), lines_ + 64 * k + v * kSliceBytes);
  }

 private:
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

  HWY_NOINLINE const std::byte* ReadMasks(const std::byte* p) {
    const auto* values = reinterpret_cast<const uint8_t*>(p) + 64;
    HWY_ALIGN uint8_t codes[64 + 8];
    for (size_t k = 0; k < 8; ++k) {
      uint64_t mask;
      std::memcpy(&mask, p + 8 * k, 8);
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
    return reinterpret_cast<const std::byte*>(values);
  }

  HWY_NOINLINE const std::byte* ReadPairs(const std::byte* p) {
    const auto* values = reinterpret_cast<const uint8_t*>(p) + 48;
    for (size_t k = 0; k < 8; ++k) {
      uint64_t patterns;
      std::memcpy(&patterns, p + 6 * k, 8);
      for (size_t i = 0; i < 8; ++i, patterns >>= 6) {
        uint32_t four = 0;
        std::memcpy(&four, values, kNibbles ? 2 : 4);
        if constexpr (kNibbles) four = (four & 15) | (four & 0xf0) << 4 | (four & 0xf00) << 8 | (four & 0xf000) << 12;
        Place(four, kPairPlaces.of[patterns & 63], lines_ + 64 * k + 8 * i);
        values += kNibbles ? 2 : 4;
      }
    }
    return reinterpret_cast<const std::byte*>(values);
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
