// How much of the range of a layer's inputs 8 bits should span, where they have one scale that was measured.
#pragma once
#include <cstdint>
#include <span>

namespace hunch {

enum class RangeRule : uint8_t {
  kMax,         // all of it
  kPercentile,  // but for the largest 0.01 %
  kMse,         // that of least squared error, of 100 shares of the largest
  kKl,          // whose histogram rounded to 128 levels is nearest to that of all (Migacz, "8-bit inference with
                // TensorRT", GTC 2017)
};
const char* name_of(RangeRule rule);

// Magnitudes beyond this are cut off; 0 where all are 0. `values`, signed or not, all finite, are not empty.
float input_range(std::span<const float> values, RangeRule rule);

}  // namespace hunch
