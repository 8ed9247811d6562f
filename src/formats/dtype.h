// The numbers of element types.
#pragma once
#include <cstdint>

namespace hunch {

// Values are ggml's type ids, as GGUF files store them; 4, 5, 31 to 33 and 36 to 38 were given up there. What hunch
// knows of each, and what it can do with it: formats/table.h.
enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
  kQ2_0 = 42,
  kI8_16 = 63,  // hunch's own, never in a file (formats/i8_16.h)
  // hunch's own in files, what checkpoints of other tools hold: no other program opens these.
  kNF4 = 0x4800,
  kFP4 = 0x4801,
  kFP8 = 0x4802,
  kI8_64 = 0x4803,
};

constexpr uint32_t kFirstOwnDType = 0x4800, kNumOwnDTypes = 4;
// Whether no other program knows the type.
constexpr bool is_own(DType dtype) { return dtype == DType::kI8_16 || uint32_t(dtype) >= kFirstOwnDType; }

}  // namespace hunch
