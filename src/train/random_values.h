// Random numbers that are the same on every machine: of a seed and a place, not of how many were drawn before.
#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace hunch {

// SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
class RandomValues {
 public:
  explicit RandomValues(uint64_t seed) : state_(seed) {}
  // The stream of a name or number under a seed.
  RandomValues(uint64_t seed, std::string_view name) : state_(seed) {
    for (const char c : name) state_ = mix(state_ ^ uint64_t(uint8_t(c)));
  }
  RandomValues(uint64_t seed, uint64_t number) : state_(mix(seed ^ mix(number))) {}

  uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
  double uniform() { return double(next() >> 11) * 0x1p-53; }             // in [0, 1)
  uint64_t below(uint64_t n) { return uint64_t(uniform() * double(n)); }  // of n < 2^53
  float normal() {  // Box and Muller 1958; the other one of the pair is not used
    const double u = 1 - uniform(), angle = 2 * std::numbers::pi * uniform();
    return float(std::sqrt(-2 * std::log(u)) * std::cos(angle));
  }

 private:
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

}  // namespace hunch
