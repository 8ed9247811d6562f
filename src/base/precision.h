// How closely products of many tokens with weights that are multiplied as floats (F32, F16, BF16, FP8, ...) are
// computed.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace hunch {

enum class Precision : uint8_t {
  kF32,   // as in f32, to within 5e-6
  kBf16,  // both factors rounded to bf16, sums in f32, where the processor is faster that way: an error of 0.23 %
};

// "f32", "bf16"; none: another name.
inline std::optional<Precision> precision_from_name(std::string_view name) {
  if (name == "f32") return Precision::kF32;
  if (name == "bf16") return Precision::kBf16;
  return std::nullopt;
}

}  // namespace hunch
