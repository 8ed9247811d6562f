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

// Outputs 0 to 7 of a word of AWQ lie in nibbles 0, 4, 1, 5, 2, 6, 3, 7.
size_t awq_shift(size_t output) { return 4 * (output % 8 / 2 + output % 2 * 4); }

}  // namespace

Words gptq_weights(const Codes& c) {
  Words words(c.n_in * c.bits / 32 * c.n_out);
  for (size_t o = 0; o < c.n_out; ++o)
    for (size_t i = 0; i < c.n_in; ++i) put_bits(words, o, c.n_out, c.bits, i, c.code[o * c.n_in + i]);
  return words;
}

Words gptq_zeros(const Codes& c) {
  const size_t width = c.n_out * c.bits / 32, all = (size_t{1} << c.bits) - 1;
  Words words(c.n_groups * width);
  for (size_t g = 0; g < c.n_groups; ++g)
    for (size_t o = 0; o < c.n_out; ++o)
      put_bits(words, g * width, 1, c.bits, o, uint32_t((c.zero[o * c.n_groups + g] - 1u) & all));
  return words;
}

Words awq_weights(const Codes& c) {
  Words words(c.n_in * c.n_out / 8);
  for (size_t o = 0; o < c.n_out; ++o)
    for (size_t i = 0; i < c.n_in; ++i)
      words[i * (c.n_out / 8) + o / 8] |= uint32_t{c.code[o * c.n_in + i]} << awq_shift(o);
  return words;
}

Words awq_zeros(const Codes& c) {
  Words words(c.n_groups * c.n_out / 8);
  for (size_t o = 0; o < c.n_out; ++o)
    for (size_t g = 0; g < c.n_groups; ++g)
      words[g * (c.n_out / 8) + o / 8] |= uint32_t{c.zero[o * c.n_groups + g]} << awq_shift(o);
  return words;
}

Words compressed_weights(const Codes& c) {
  const size_t width = c.n_in * c.bits / 32;
  Words words(c.n_out * width);
  for (size_t o = 0; o < c.n_out; ++o)
    for (size_t i = 0; i < c.n_in; ++i) put_bits(words, o * width, 1, c.bits, i, c.code[o * c.n_in + i]);
  return words;
}

Words compressed_zeros(const Codes& c) {
  Words words(c.n_out * c.bits / 32 * c.n_groups);
  for (size_t g = 0; g < c.n_groups; ++g)
    for (size_t o = 0; o < c.n_out; ++o) put_bits(words, g, c.n_groups, c.bits, o, c.zero[o * c.n_groups + g]);
  return words;
}

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
