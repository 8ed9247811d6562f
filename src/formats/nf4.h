// NF4: NormalFloat in 4 bits, as bitsandbytes stores it (Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3).
#pragma once
#include "formats/four_bit_floats.h"

namespace hunch::format {

struct NF4 : FourBitFloats<NF4> {
  // Rising: quantiles of a normal distribution, with 0, -1 and 1 among them.
  static constexpr std::array<float, 16> kValues = {-1.0f,
                                                    -0.6961928009986877f,
                                                    -0.5250730514526367f,
                                                    -0.39491748809814453f,
                                                    -0.28444138169288635f,
                                                    -0.18477343022823334f,
                                                    -0.09105003625154495f,
                                                    0.0f,
                                                    0.07958029955625534f,
                                                    0.16093020141124725f,
                                                    0.24611230194568634f,
                                                    0.33791524171829224f,
                                                    0.44070982933044434f,
                                                    0.5626170039176941f,
                                                    0.7229568362236023f,
                                                    1.0f};
  static constexpr Format kFormat = {.dtype = DType::kNF4,
                                     .name = "nf4",
                                     .block_elems = 64,
                                     .block_bytes = 36,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = uint32_t(DType::kNF4),
                                     .float_products = true};
};
static_assert(sizeof(NF4::Block) == NF4::kFormat.block_bytes);

}  // namespace hunch::format
