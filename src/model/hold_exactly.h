// Matrices in formats that are only read, held in memory as ones that hunch computes with.
#pragma once
#include <cstdint>
#include <set>
#include <string>

#include "base/compute.h"
#include "io/model_file.h"

namespace hunch {

// What was held otherwise than the file has it, and what that costs.
struct HeldOtherwise {
  size_t n_tensors = 0;
  uint64_t file_bytes = 0, memory_bytes = 0;
  std::set<DType> types;  // in the file
  DType held_as = DType::kF32;
};

// What hold_exactly() would do with `file`.
HeldOtherwise held_otherwise(const ModelFile& file);
// "12 tensors of iq3_s, iq2_xxs are held as i8_16, with the same values: 1.2 GB of the file take 3.1 GB"; "" for none.
std::string describe(const HeldOtherwise& held);

// `file` with its tensors in formats that are only read (Format::load) turned into the formats that hold their values
// without loss; rows in parallel. The others are views of what `file` has. Throws Error{kMemory} naming the price
// before anything is taken, Error{kInterrupted}.
ModelFile hold_exactly(const ModelFile& file, Compute& compute);

// Throws Error{kUnsupported} naming the first tensor in blocks that hunch knows and cannot read, with the type.
// Integers, which are no weights, may be there.
void check_types(const ModelFile& file);

// The one number "x.scale" beside `t`, "x.weight": the matrix is that times -1, 0 and 1 (linear/ternary.h; BitNet, in
// llama.cpp's names). nullptr: it is not; NVFP4 files have another number by that name, experts one for each.
const Tensor* ternary_scale(const ModelFile& file, const Tensor& t);

// The names of the types that weights may have, for messages: "f32, f16, ...".
std::string types_of_weights();

}  // namespace hunch
