// Matrices of -1, 0 and 1 at two bits a weight, with vectors of int8 or of floats: no multiplication but by the vector.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

// A row is groups of 64 bytes: weight 64 j + m of a group's 256, plus 1, stands in bits 2 j and 2 j + 1 of byte m, so
// that any vector of bytes is four vectors of neighbouring weights. What fills up the last group is zeros.
constexpr size_t kTernaryGroup = 256;
constexpr size_t ternary_padded(size_t n) { return (n + kTernaryGroup - 1) / kTernaryGroup * kTernaryGroup; }
constexpr size_t ternary_bytes(size_t n) { return ternary_padded(n) / 4; }

// `row` [ternary_bytes(w.size())] becomes w, each of -1, 0, 1; and back.
void pack_ternary(std::span<const int8_t> w, std::byte* row);
void unpack_ternary(const std::byte* row, std::span<int8_t> w);

// q = x / s rounded to the nearest even in -127..127, with s = max |x| / 127; max |x| counts as 1e-5 where it is less.
// Returns s. What lies in q beyond x becomes 0.
//
//   q [ternary_padded(x.size())]
// Source: ActQuant of Hugging Face's integrations/bitnet.py; Wang et al. 2023, "BitNet" (arXiv:2310.11453),
// section 2.2.
float round_to_int8(std::span<const float> x, std::span<int8_t> q);

// The sum of w[i] * x[i]; x [a multiple of 256], which counts zeros beyond the row. That of integers is exact; that of
// floats is summed in f32, in an order that varies by target.
int32_t ternary_dot(const std::byte* row, std::span<const int8_t> x);
float ternary_dot(const std::byte* row, std::span<const float> x);

// y[r] = the sum over k in `ids` of a[k] * W[k, r], from a group on: y [256 n], written.
//
//   rows  that group of row 0; that of row k lies k * stride bytes further
//   a     indexed by row
// At most 2^24 ids, so that sums of integers fit.
void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const int8_t> a,
                 std::span<int32_t> y);
void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const float> a,
                 std::span<float> y);

namespace ref {  // a weight at a time, floats in double
float round_to_int8(std::span<const float> x, std::span<int8_t> q);
int32_t ternary_dot(const std::byte* row, std::span<const int8_t> x);
float ternary_dot(const std::byte* row, std::span<const float> x);
void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const int8_t> a,
                 std::span<int32_t> y);
void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const float> a,
                 std::span<float> y);
}  // namespace ref
}  // namespace hunch
