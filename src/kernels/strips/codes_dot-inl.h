// Codes of a strip's lines times x, and a tile of tokens: what products of strips share, for one set of instructions.
// No include guard: included inside the namespaces of strips/dot-inl.h and sparse/dot-inl.h, where HUNCH_VNNI says
// whether there is vpdpbusd.

// Of unsigned codes of kBits bits.
template <size_t kBits>
HWY_INLINE V32 Dot(V32 sum, VU8 u, V32 x) {
#if HUNCH_VNNI
#if HWY_TARGET <= HWY_AVX3
  return V32{_mm512_dpbusd_epi32(sum.raw, u.raw, x.raw)};
#else
  return V32{_mm256_dpbusd_avx_epi32(sum.raw, u.raw, x.raw)};
#endif
#else
  const auto x8 = hn::BitCast(D8(), x);
  if constexpr (kBits == 8) {
    return DotSigned(sum, hn::BitCast(D8(), hn::Xor(u, hn::Set(DU8(), uint8_t(128)))), x8);
  } else {
#if HWY_ARCH_X86  // codes are below 64: no sum of two products leaves 16 bits
#if HWY_TARGET <= HWY_AVX3
    const __m512i pairs = _mm512_maddubs_epi16(u.raw, x8.raw);
    return V32{_mm512_add_epi32(sum.raw, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
#elif HWY_TARGET <= HWY_AVX2
    const __m256i pairs = _mm256_maddubs_epi16(u.raw, x8.raw);
    return V32{_mm256_add_epi32(sum.raw, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
#else
    const __m128i pairs = _mm_maddubs_epi16(u.raw, x8.raw);
    return V32{_mm_add_epi32(sum.raw, _mm_madd_epi16(pairs, _mm_set1_epi16(1)))};
#endif
#else
    return DotSigned(sum, hn::BitCast(D8(), u), x8);
#endif
  }
#endif
}

// Where a block's integer sum begins, from -128 * the sum of its x.
template <int kOffset>
HWY_INLINE V32 Start(const int32_t* start128) {
  if constexpr (kOffset == 0 || (kOffset == 128 && !HUNCH_VNNI)) {
    return hn::Zero(D32());
  } else {
    constexpr int kShift = 7 - std::countr_zero(unsigned(kOffset));
    static_assert(kOffset << kShift == 128);
    return hn::ShiftRight<kShift>(hn::Set(D32(), *start128));
  }
}

// Four columns of x, for every row.
HWY_INLINE V32 Four(const int8_t* q) {
  int32_t four;
  std::memcpy(&four, q, 4);
  return hn::Set(D32(), four);
}

// What a tile of tokens has: x at the first column, and where the sums of sixteen rows are found and left.
struct Tile {
  const int8_t* q[kMostStripTokens];
  const float* scale[kMostStripTokens];
  const float* scaled_sum[kMostStripTokens];  // by sub-block, as start
  const int32_t* start[kMostStripTokens];     // by sub-block
  float* y[kMostStripTokens];
};
