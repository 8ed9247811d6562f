#include "kernels/kv_groups.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace hunch {
namespace {

// How numbers between `low` and `high` become codes; both factors are what their f16 says.
struct CodeScale {
  f16 scale, minimum;
  float factor, offset;  // code = (x - offset) * factor

  CodeScale(float low, float high, size_t bits) {
    const float most = float((1u << bits) - 1);
    minimum = to_f16(low);
    offset = to_f32(minimum);
    scale = to_f16((high - offset) / most);
    const float step = to_f32(scale);
    factor = step > 0 ? 1 / step : 0.0f;
  }
  uint32_t code(float x, size_t bits) const {
    const float most = float((1u << bits) - 1), c = std::nearbyint((x - offset) * factor);
    return c > 0 ? uint32_t(std::min(c, most)) : 0;  // NaN is 0
  }
};

void put_code(uint8_t* piece, size_t bits, size_t i, uint32_t code) {
  if (bits == 4) {
    piece[i % 16] |= uint8_t(code << (i / 16 * 4));
  } else {
    piece[i / 4] |= uint8_t(code << (i % 4 * 2));  // little-endian words, as their bytes
  }
}

uint32_t code_at(const uint8_t* piece, size_t bits, size_t i) {
  return bits == 4 ? piece[i % 16] >> (i / 16 * 4) & 15u : piece[i / 4] >> (i % 4 * 2) & 3u;
}

f16 half_at(const std::byte* at, size_t i) {
  f16 h;
  std::memcpy(&h, at + i * sizeof(f16), sizeof h);
  return h;
}
void put_half(f16 h, std::byte* at, size_t i) { std::memcpy(at + i * sizeof(f16), &h, sizeof h); }

}  // namespace

void pack_key_group(size_t bits, MatView<const f16> K, std::byte* to) {
  HUNCH_CHECK((bits == 2 || bits == 4) && K.rows == kKvGroup && K.cols % kKvGroup == 0, "{} bits of keys [{}, {}]",
              bits, K.rows, K.cols);
  const size_t d = K.cols, row = d / kKvGroup * kv_piece_bytes(bits);
  auto* const codes = reinterpret_cast<uint8_t*>(to + 2 * d * sizeof(f16));
  std::fill_n(codes, kKvGroup * row, uint8_t(0));
  for (size_t c = 0; c < d; ++c) {
    float channel[kKvGroup];
    for (size_t t = 0; t < kKvGroup; ++t) channel[t] = to_f32(K.row(t)[c]);
    const auto [low, high] = std::minmax_element(channel, channel + kKvGroup);
    const CodeScale s(*low, *high, bits);
    put_half(s.scale, to, c);
    put_half(s.minimum, to, d + c);
    for (size_t t = 0; t < kKvGroup; ++t)
      put_code(codes + t * row + c / kKvGroup * kv_piece_bytes(bits), bits, c % kKvGroup, s.code(channel[t], bits));
  }
}

void pack_value_row(size_t bits, std::span<const f16> v, std::byte* to) {
  HUNCH_CHECK((bits == 2 || bits == 4) && v.size() % kKvGroup == 0, "{} bits of {} values", bits, v.size());
  for (size_t first = 0; first < v.size(); first += kKvGroup, to += 2 * sizeof(f16) + kv_piece_bytes(bits)) {
    float values[kKvGroup];
    for (size_t i = 0; i < kKvGroup; ++i) values[i] = to_f32(v[first + i]);
    const auto [low, high] = std::minmax_element(values, values + kKvGroup);
    const CodeScale s(*low, *high, bits);
    put_half(s.scale, to, 0);
    put_half(s.minimum, to, 1);
    auto* const piece = reinterpret_cast<uint8_t*>(to + 2 * sizeof(f16));
    std::fill_n(piece, kv_piece_bytes(bits), uint8_t(0));
    for (size_t i = 0; i < kKvGroup; ++i) put_code(piece, bits, i, s.code(values[i], bits));
  }
}

namespace ref {

void unpack_key(size_t bits, const std::byte* group, size_t token, std::span<float> to) {
  const size_t d = to.size(), row = d / kKvGroup * kv_piece_bytes(bits);
  const auto* const codes = reinterpret_cast<const uint8_t*>(group + 2 * d * sizeof(f16)) + token * row;
  for (size_t c = 0; c < d; ++c)
    to[c] =
        float(code_at(codes + c / kKvGroup * kv_piece_bytes(bits), bits, c % kKvGroup)) * to_f32(half_at(group, c)) +
        to_f32(half_at(group, d + c));
}

void unpack_value(size_t bits, const std::byte* row, std::span<float> to) {
  for (size_t c = 0; c < to.size(); ++c) {
    const std::byte* const block = row + c / kKvGroup * (2 * sizeof(f16) + kv_piece_bytes(bits));
    const auto* const piece = reinterpret_cast<const uint8_t*>(block + 2 * sizeof(f16));
    to[c] = float(code_at(piece, bits, c % kKvGroup)) * to_f32(half_at(block, 0)) + to_f32(half_at(block, 1));
  }
}

}  // namespace ref
}  // namespace hunch
