#include "io/file_types.h"

namespace hunch {

bool stays_f32(std::string_view name, std::span<const uint64_t> shape) {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  if (shape.size() < 2 || rows == 1 || name.ends_with(".bias")) return true;  // those of experts are stacked
  for (std::string_view part : {"norm", "position_embd", "ffn_gate_inp", "rope_f"})
    if (name.find(part) != std::string_view::npos) return true;
  return false;
}

namespace {

// What llama.cpp's quantiser takes instead of a type of 256 weights a block: of about as many bits. Where it is not
// written, the format's own.
DType nearest(DType dtype) {
  const DType near = [&] {
    switch (dtype) {
      case DType::kQ2_K:
      case DType::kQ3_K: return DType::kQ4_0;
      case DType::kQ4_K: return DType::kQ5_0;
      case DType::kQ5_K: return DType::kQ5_1;
      case DType::kIQ4_XS: return DType::kIQ4_NL;
      default: return info(dtype).fallback;
    }
  }();
  return info(near).writes() ? near : info(dtype).fallback;
}

}  // namespace

DType fitting_dtype(DType asked, size_t cols) {
  while (cols % info(asked).block_elems != 0)
    // What has blocks of 32 has no smaller neighbour.
    asked = info(asked).block_elems > 32 ? nearest(asked) : DType::kF16;
  return asked;
}

}  // namespace hunch
