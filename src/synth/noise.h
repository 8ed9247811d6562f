// Cheap, reproducible noise: every row of every tensor is a stream of its own, so rows can be made in any
// order, on any thread, and made again.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace hunch {

class SynthNoise {
 public:
  SynthNoise(uint64_t seed, std::string_view stream, uint64_t row);

  // 64 uniform bits (SplitMix64; Steele et al. 2014).
  uint64_t bits() { return mix(state_ += kStep); }
  // Uniform in [0, 1), in [0, n).
  double uniform() { return double(bits() >> 11) * 0x1p-53; }
  uint64_t below(uint64_t n) { return uint64_t((static_cast<unsigned __int128>(bits()) * n) >> 64); }

  // Nearly normal values with mean 0 and the given standard deviation: sums of four uniform bytes, two from
  // each 64 bits. No value is beyond 3.46 standard deviations.
  void normal(float deviation, std::span<float> out);

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15;
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

}  // namespace hunch
