// Codes of four bits that are looked up (formats/code_book.h).
#if defined(HUNCH_KERNELS_FORMATS_CODE_BOOK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_CODE_BOOK_INL_H_
#undef HUNCH_KERNELS_FORMATS_CODE_BOOK_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_CODE_BOOK_INL_H_
#endif
#include <cstddef>

#include "formats/code_book.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The values of codes below 16.
template <class Book>
HWY_INLINE ByteVec ValuesFromBook(ByteVec codes) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(Bytes(), uint8_t(Book::kValues[hn::GetLane(codes)]));
#else
  return hn::TableLookupBytes(hn::LoadU(Bytes(), reinterpret_cast<const uint8_t*>(Book::kValues)), codes);
#endif
}

// out[0 .. 16) = values of the low halves of 16 bytes, out[16 .. 32) = of their high halves.
template <class Book>
HWY_INLINE void LookUpPairs(const std::byte* pairs, int8_t* out) {
  for (size_t l = 0; l < 16; l += hn::Lanes(Bytes())) {
    const ByteVec v = hn::LoadU(Bytes(), reinterpret_cast<const uint8_t*>(pairs) + l);
    StoreBytes(ValuesFromBook<Book>(Low4(v)), out + l);
    StoreBytes(ValuesFromBook<Book>(High4(v)), out + 16 + l);
  }
}

#if HUNCH_AVX512
template <class Book>
HWY_INLINE __m512 FloatsOf() {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(Book::kValues))));
}
// The values plus `offset`, which makes them unsigned, in each 128 bits.
template <class Book>
HWY_INLINE __m512i BytesOf(int offset) {
  const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(Book::kValues));
  return _mm512_broadcast_i32x4(_mm_add_epi8(values, _mm_set1_epi8(char(offset))));
}
// Of the low and of the high halves of 64 bytes: those plus `offset`.
template <class Book>
HWY_INLINE void LookUpHalves(__m512i pairs, int offset, __m512i* low, __m512i* high) {
  const __m512i nibble = _mm512_set1_epi8(15), book = BytesOf<Book>(offset);
  *low = _mm512_shuffle_epi8(book, _mm512_and_si512(pairs, nibble));
  *high = _mm512_shuffle_epi8(book, _mm512_and_si512(_mm512_srli_epi16(pairs, 4), nibble));
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
