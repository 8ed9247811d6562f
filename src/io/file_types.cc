#include "io/file_types.h"

namespace hunch {

bool stays_f32(std::string_view name, std::span<const uint64_t> shape) {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  if (shape.size() < 2 || rows == 1) return true;
  for (std::string_view part : {"norm", "position_embd", "ffn_gate_inp", "rope_f"})
    if (name.find(part) != std::string_view::npos) return true;
  return false;
}

DType fitting_dtype(DType asked, size_t cols) {
  DType dtype = asked;
  for (DType next : {DType::kQ8_0, DType::kF16}) {
    if (cols % info(dtype).block_elems == 0) break;
    dtype = next;
  }
  return dtype;
}

uint32_t gguf_file_type(DType dtype) {
  switch (dtype) {
    case DType::kF16: return 1;
    case DType::kQ4_0: return 2;
    case DType::kQ8_0: return 7;
    case DType::kQ4_K: return 14;
    case DType::kQ6_K: return 18;
    case DType::kBF16: return 32;
    default: return 0;
  }
}

}  // namespace hunch
