// Four numbers side by side, as encoders search: each lane another block or sub-block. Of the compiler's vectors, which
// every target has; a bool of a lane is all ones or zeros.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace hunch::fit {

using Four = float __attribute__((vector_size(16)));
using FourMask = int32_t __attribute__((vector_size(16)));

inline Four four(float v) { return Four{v, v, v, v}; }
inline Four max(Four a, Four b) { return a < b ? b : a; }
inline Four min(Four a, Four b) { return b < a ? b : a; }
inline float sum(Four v) { return (v[0] + v[1]) + (v[2] + v[3]); }
inline Four abs(Four v) { return std::bit_cast<Four>(std::bit_cast<FourMask>(v) & 0x7fffffff); }
// The nearest whole number, ties to even, for |v| < 2^22: see round_small.
inline Four round(Four v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

// Below this a scale's inverse would leave the range of f32: such blocks count as zeros.
constexpr float kLeast = 1e-30f;
inline Four inverses(Four v) { return abs(v) < kLeast ? four(0) : 1.0f / v; }

// N values of each of four blocks and their weights. Lane l is the block at x + l * N; beyond n, the first one again.
// Weights are the importance, or ones; ones too in a block that has none anywhere.
template <int N>
struct FourBlocks {
  Four x[N], w[N];
  bool weighted = false;  // by an importance

  FourBlocks() = default;
  FourBlocks(const float* values, const float* importance, size_t n = 4) : weighted(importance != nullptr) {
    for (int l = 0; l < 4; ++l) {
      const float* from = values + (size_t(l) < n ? l : 0) * N;
      for (int i = 0; i < N; ++i) x[i][l] = from[i];
    }
    for (Four& v : w) v = four(1);
    for (int l = 0; importance && l < 4; ++l) {
      const float* from = importance + (size_t(l) < n ? l : 0) * N;
      if (std::any_of(from, from + N, [](float v) { return v > 0; }))
        for (int i = 0; i < N; ++i) w[i][l] = from[i];
    }
  }
  // The value of largest magnitude of each, the first of several.
  Four extreme() const {
    Four most = four(0);
    for (int i = 0; i < N; ++i) most = abs(x[i]) > abs(most) ? x[i] : most;
    return most;
  }
};

}  // namespace hunch::fit
