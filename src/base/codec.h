// Codecs: how rows of each dtype turn into f32 and back. Scalar and obvious; the SIMD kernels in
// kernels/ are tested against these. One file per format, one row per format in the table.
#pragma once
#include <cstddef>
#include <span>

#include "base/dtype.h"

namespace hunch {

struct Codec {
  DType dtype;
  // out[i] for i in [0, n), n a multiple of block_elems. `blocks` needs no alignment.
  void (*decode)(const std::byte* blocks, float* out, size_t n);
  // Round-to-nearest encoding of n values; nullptr where hunch only reads the format (q5_k).
  // Non-finite input is the caller's error to have refused.
  void (*encode)(const float* values, std::byte* blocks, size_t n);
};

// The codec of a type that computes (info(dtype).computes); throws Error{kUnsupported} naming the
// type and those that hunch reads otherwise.
const Codec& codec(DType dtype);

}  // namespace hunch
