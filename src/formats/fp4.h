// FP4 as bitsandbytes stores it: twelfths of 1, 2, 3, 4, 6, 8 and 12 with their signs, 1/192, and 0.
#pragma once
#include "formats/four_bit_floats.h"

namespace hunch::format {

struct FP4 : FourBitFloats<FP4> {
  // Not in order; with two zeros.
  static constexpr std::array<float, 16> kValues = {0.0f,
                                                    0.0052083334885537624f,
                                                    0.6666666865348816f,
                                                    1.0f,
                                                    0.3333333432674408f,
                                                    0.5f,
                                                    0.1666666716337204f,
                                                    0.25f,
                                                    0.0f,
                                                    -0.0052083334885537624f,
                                                    -0.6666666865348816f,
                                                    -1.0f,
                                                    -0.3333333432674408f,
                                                    -0.5f,
                                                    -0.1666666716337204f,
                                                    -0.25f};
  static constexpr Format kFormat = {.dtype = DType::kFP4,
                                     .name = "fp4",
                                     .block_elems = 64,
                                     .block_bytes = 36,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = uint32_t(DType::kFP4),
                                     .float_products = true};
};
static_assert(sizeof(FP4::Block) == FP4::kFormat.block_bytes);

}  // namespace hunch::format
