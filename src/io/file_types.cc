#include "io/file_types.h"

namespace hunch {

bool stays_f32(std::string_view name, std::span<const uint64_t> shape) {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  if (shape.size() < 2 || rows == 1 || name.ends_with(".bias")) return true;  // those of experts are stacked
  if (name.ends_with(".ssm_a") || name.ends_with(".ssm_d")) return true;
  for (std::string_view part : {"norm", "position_embd", "ffn_gate_inp", "rope_f", "altup_router", "altup_predict",
                                "altup_correct", "ssm_conv1d", "shortconv.conv"})
    if (name.find(part) != std::string_view::npos) return true;
  return false;
}

DType fitting_dtype(DType asked, size_t cols) {
  while (cols % info(asked).block_elems != 0) asked = info(asked).fallback;
  return asked;
}

}  // namespace hunch
