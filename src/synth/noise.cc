#include "synth/noise.h"

#include <cmath>

namespace hunch {

SynthNoise::SynthNoise(uint64_t seed, std::string_view stream, uint64_t row) {
  uint64_t name = 0xCBF29CE484222325;  // FNV-1a
  for (char c : stream) name = (name ^ uint8_t(c)) * 0x100000001B3;
  state_ = mix(mix(mix(seed + kStep) ^ name) + (row + 1) * kStep);
}

void SynthNoise::normal(float deviation, std::span<float> out) {
  constexpr uint64_t kEvenBytes = 0x00FF00FF00FF00FF;
  constexpr float kMean = 4 * 127.5f;
  static const float kDeviation = std::sqrt(4 * (256.0f * 256.0f - 1) / 12);
  const float scale = deviation / kDeviation;
  const auto two_sums = [this] {
    const uint64_t z = bits(), pairs = (z & kEvenBytes) + ((z >> 8) & kEvenBytes);
    return pairs + (pairs >> 32);  // in the two lower lanes of 16 bits
  };
  size_t i = 0;
  for (; i + 2 <= out.size(); i += 2) {
    const uint64_t sums = two_sums();
    out[i] = (float(int32_t(sums & 0xFFFF)) - kMean) * scale;
    out[i + 1] = (float(int32_t((sums >> 16) & 0xFFFF)) - kMean) * scale;
  }
  if (i < out.size()) out[i] = (float(int32_t(two_sums() & 0xFFFF)) - kMean) * scale;
}

}  // namespace hunch
