// Formats that are read and not computed with. Each says how a block is integers of 8 bits with a scale for each
// sixteen; their matrices are held so (i8_16.h), which loses nothing, at 10 bits per weight.
#pragma once
#include <cstring>

#include "formats/format.h"
#include "formats/i8_16.h"
#include "formats/iq1.h"
#include "formats/iq2.h"
#include "formats/iq3.h"
#include "formats/nvfp4.h"
#include "formats/ternary.h"

namespace hunch {

// Of a struct F with kElems and kBytes of a block and
//   spread(block, codes, scales)   codes[kElems] and scales[kElems / 16]: x[i] = scales[i / 16] * codes[i]
template <class F>
struct ReadOnly {
  static void decode(const std::byte* blocks, float* out, size_t n) {
    int8_t codes[F::kElems];
    float scales[F::kElems / 16];
    for (size_t i = 0; i < n; i += F::kElems, blocks += F::kBytes) {
      F::spread(reinterpret_cast<const uint8_t*>(blocks), codes, scales);
      for (size_t j = 0; j < F::kElems; ++j) out[i + j] = scales[j / 16] * float(codes[j]);
    }
  }
  static void load(const std::byte* blocks, std::byte* to, size_t n) {
    int8_t codes[F::kElems];
    float scales[F::kElems / 16];
    for (size_t i = 0; i < n; i += F::kElems, blocks += F::kBytes) {
      F::spread(reinterpret_cast<const uint8_t*>(blocks), codes, scales);
      for (size_t j = 0; j < F::kElems; j += 32, to += sizeof(format::I8_16::Block)) {
        format::I8_16::Block block;
        std::memcpy(block.scale, scales + j / 16, sizeof block.scale);
        std::memcpy(block.q, codes + j, sizeof block.q);
        std::memcpy(to, &block, sizeof block);
      }
    }
  }
  static constexpr Format kFormat = {.dtype = F::kDType,
                                     .name = F::kName,
                                     .block_elems = F::kElems,
                                     .block_bytes = F::kBytes,
                                     .decode = decode,
                                     .load = load,
                                     .loads_as = DType::kI8_16};
};

inline constexpr Format kReadOnly[] = {
    ReadOnly<format::IQ3_S>::kFormat,  ReadOnly<format::IQ3_XXS>::kFormat, ReadOnly<format::IQ2_S>::kFormat,
    ReadOnly<format::IQ2_XS>::kFormat, ReadOnly<format::IQ2_XXS>::kFormat, ReadOnly<format::IQ1_M>::kFormat,
    ReadOnly<format::IQ1_S>::kFormat,  ReadOnly<format::TQ2_0>::kFormat,   ReadOnly<format::TQ1_0>::kFormat,
    ReadOnly<format::NVFP4>::kFormat,  ReadOnly<format::Q2_0>::kFormat,    ReadOnly<format::Q1_0>::kFormat,
};

}  // namespace hunch
