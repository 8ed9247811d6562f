// The scales and minima of a k-quant's block on a 512-bit vector. No include guard: included once per AVX-512 target by
// each kernel that reads them, inside its namespace.

// [d * scale[0..7], d_min * min[0..7]] of a Q4_K or Q5_K block.
HWY_INLINE __m512 ScalesK(const std::byte* w) {
  uint32_t d, a, b, c;
  std::memcpy(&d, w, 4);
  std::memcpy(&a, w + 4, 4);   // bytes 0..3 of the packed scales: scales 0..3 and top bits of 4..7
  std::memcpy(&b, w + 8, 4);   // the same of the minima
  std::memcpy(&c, w + 12, 4);  // low four bits of scales 4..7 and minima 4..7
  const uint64_t scales = (a & 0x3f3f3f3fu) | uint64_t((c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u)) << 32;
  const uint64_t mins = (b & 0x3f3f3f3fu) | uint64_t((c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u)) << 32;
  const __m512 codes = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x(int64_t(mins), int64_t(scales))));
  const __m512i which = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128(int(d)));
  return _mm512_mul_ps(codes, _mm512_permutexvar_ps(which, _mm512_castps128_ps512(both)));
}
