// safetensors: an 8-byte length, a JSON header, then raw tensors.
#pragma once
#include <set>
#include <span>
#include <string>

#include "io/model_file.h"

namespace hunch {

// Parses one .safetensors file's bytes; tensors are views into them. Throws Error{kFormat} for a
// header that is truncated, not JSON, or whose offsets overlap, leave gaps or pass the end, and
// Error{kUnsupported} for dtypes outside F32, F16, BF16, F64, I8, I16, I32, I64, U8, BOOL.
// F64, BOOL and integer tensors are listed with dtype kF64 / kI8 / ... and never computed with. F8_E4M3 is read for who
// gives a `float8`: its tensors are kI8, and their names are added there.
std::vector<Tensor> parse_safetensors(std::span<const std::byte> bytes, std::set<std::string>* float8 = nullptr);

}  // namespace hunch
