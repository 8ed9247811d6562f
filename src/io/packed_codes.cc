#include "io/packed_codes.h"

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {

// Number i of a stream of bits that begins at word `begin` and goes on every `stride` words.
void put_bits(Words& words, size_t begin, size_t stride, size_t bits, size_t i, uint32_t value) {
  const size_t bit = i * bits, word = bit / 32, shift = bit % 32;
  words[begin + word * stride] |= value << shift;
  if (shift + bits > 32) words[begin + (word + 1) * stride] |= value >> (32 - shift);
}

// Streams of n numbers each, down the columns of a matrix of words or along its rows; number(stream, i).
template <class Number>
Words packed(size_t n_streams, size_t n, size_t bits, bool down, const Number& number) {
  const size_t n_words = n * bits / 32;
  Words words(n_streams * n_words);
  for (size_t s = 0; s < n_streams; ++s)
    for (size_t i = 0; i < n; ++i)
      put_bits(words, down ? s : s * n_words, down ? n_streams : 1, bits, i, uint32_t(number(s, i)));
  return words;
}

auto codes_of(const Codes& c) {
  return [&c](size_t output, size_t input) { return c.code[output * c.n_in + input]; };
}
auto zeros_of(const Codes& c) {
  return [&c](size_t group, size_t output) { return c.zero[output * c.n_groups + group]; };
}

// [n_rows, n_out / 8]: outputs 0 to 7 of a word lie in nibbles 0, 4, 1, 5, 2, 6, 3, 7; number(row, output).
template <class Number>
Words packed_awq(size_t n_rows, size_t n_out, const Number& number) {
  Words words(n_rows * n_out / 8);
  for (size_t r = 0; r < n_rows; ++r)
    for (size_t o = 0; o < n_out; ++o)
      words[r * (n_out / 8) + o / 8] |= uint32_t{number(r, o)} << 4 * (o % 8 / 2 + o % 2 * 4);
  return words;
}

}  // namespace

Words gptq_weights(const Codes& c) { return packed(c.n_out, c.n_in, c.bits, true, codes_of(c)); }

Words gptq_zeros(const Codes& c) {
  const uint32_t all = (1u << c.bits) - 1;
  return packed(c.n_groups, c.n_out, c.bits, false,
                [&](size_t group, size_t output) { return (zeros_of(c)(group, output) - 1u) & all; });
}

Words awq_weights(const Codes& c) {
  return packed_awq(c.n_in, c.n_out, [&](size_t input, size_t output) { return codes_of(c)(output, input); });
}
Words awq_zeros(const Codes& c) { return packed_awq(c.n_groups, c.n_out, zeros_of(c)); }

Words compressed_weights(const Codes& c) { return packed(c.n_out, c.n_in, c.bits, false, codes_of(c)); }
Words compressed_zeros(const Codes& c) { return packed(c.n_groups, c.n_out, c.bits, true, zeros_of(c)); }

void check_gptq(const char* name, size_t n_out, size_t n_in, size_t bits) {
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    fail(ErrorKind::kUnsupported, "GPTQ's layout has 2, 3, 4 or 8 bits a weight, not {}", bits);
  const size_t whole = bits == 3 ? 32 : 32 / bits;
  if (n_in % whole != 0 || n_out % whole != 0)
    fail(ErrorKind::kUnsupported, "'{}' is {} x {}; in GPTQ's layout of {} bits outputs and inputs are multiples of {}",
         printable(name), n_out, n_in, bits, whole);
}

void check_awq(const char* name, size_t n_out, size_t n_in, size_t bits) {
  if (bits != 4) fail(ErrorKind::kUnsupported, "AWQ's layout has 4 bits a weight, not {}", bits);
  if (n_out % 8 != 0)
    fail(ErrorKind::kUnsupported, "'{}' is {} x {}; in AWQ's layout outputs are a multiple of 8", printable(name),
         n_out, n_in);
}

void check_compressed(const char* name, size_t n_out, size_t n_in, size_t bits, bool symmetric) {
  if (bits != 4 && bits != 8)
    fail(ErrorKind::kUnsupported, "packed compressed-tensors have 4 or 8 bits a weight, not {}", bits);
  const size_t whole = 32 / bits;
  if (n_in % whole != 0 || (!symmetric && n_out % whole != 0))
    fail(ErrorKind::kUnsupported, "'{}' is {} x {}; {} of {} bits are a multiple of {}", printable(name), n_out, n_in,
         n_in % whole ? "inputs" : "outputs with zero points", bits, whole);
}

}  // namespace hunch
