#include "compress/matrix/code_layout.h"

namespace hunch {
namespace {

// Sets n_bits of a byte from bit `shift` on.
void put_bits(std::byte* at, size_t shift, int n_bits, int bits) {
  const unsigned mask = ((1u << n_bits) - 1) << shift;
  *at = std::byte((unsigned(*at) & ~mask) | (unsigned(bits) << shift & mask));
}

// The blocks are those of formats/q4_0.h and so on; each names the places of its fields.
void put_q4_0(std::byte* b, size_t i, int code) { put_bits(b + 2 + i % 16, i / 16 * 4, 4, code); }
void put_q4_1(std::byte* b, size_t i, int code) { put_bits(b + 4 + i % 16, i / 16 * 4, 4, code); }

void put_q5_0(std::byte* b, size_t i, int code) {
  put_bits(b + 6 + i % 16, i / 16 * 4, 4, code & 15);
  put_bits(b + 2 + i / 8, i % 8, 1, code >> 4);
}

void put_q5_1(std::byte* b, size_t i, int code) {
  put_bits(b + 8 + i % 16, i / 16 * 4, 4, code & 15);
  put_bits(b + 4 + i / 8, i % 8, 1, code >> 4);
}

void put_q8_0(std::byte* b, size_t i, int code) { b[2 + i] = std::byte(code - 127); }

void put_q2_k(std::byte* b, size_t i, int code) { put_bits(b + 16 + i / 128 * 32 + i % 32, i / 32 % 4 * 2, 2, code); }

void put_q3_k(std::byte* b, size_t i, int code) {
  put_bits(b + 32 + i / 128 * 32 + i % 32, i / 32 % 4 * 2, 2, code & 3);
  put_bits(b + i % 32, i / 32, 1, code >> 2);
}

void put_q4_k(std::byte* b, size_t i, int code) { put_bits(b + 16 + i / 64 * 32 + i % 32, i / 32 % 2 * 4, 4, code); }

void put_q5_k(std::byte* b, size_t i, int code) {
  put_bits(b + 48 + i / 64 * 32 + i % 32, i / 32 % 2 * 4, 4, code & 15);
  put_bits(b + 16 + i % 32, i / 32, 1, code >> 4);
}

void put_q6_k(std::byte* b, size_t i, int code) {
  const size_t half = i / 128, quarter = i / 32 % 4, l = i % 32;
  put_bits(b + 64 * half + l + 32 * (quarter % 2), quarter / 2 * 4, 4, code & 15);
  put_bits(b + 128 + 32 * half + l, quarter * 2, 2, code >> 4);
}

constexpr CodeLayout kLayouts[] = {
    {DType::kQ4_0, 15, put_q4_0}, {DType::kQ4_1, 15, put_q4_1},  {DType::kQ5_0, 31, put_q5_0},
    {DType::kQ5_1, 31, put_q5_1}, {DType::kQ8_0, 254, put_q8_0}, {DType::kQ2_K, 3, put_q2_k},
    {DType::kQ3_K, 7, put_q3_k},  {DType::kQ4_K, 15, put_q4_k},  {DType::kQ5_K, 31, put_q5_k},
    {DType::kQ6_K, 63, put_q6_k},
};

}  // namespace

const CodeLayout* find_code_layout(DType dtype) {
  for (const CodeLayout& layout : kLayouts)
    if (layout.dtype == dtype) return &layout;
  return nullptr;
}

std::vector<std::string> code_layout_names() {
  std::vector<std::string> names;
  for (const CodeLayout& layout : kLayouts) names.push_back(name_of(layout.dtype));
  return names;
}

}  // namespace hunch
