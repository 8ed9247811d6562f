// Writing safetensors files.
#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "io/gguf.h"

namespace hunch {

// Writes the tensors in this order, atomically, with the metadata {"format": "pt"} that Hugging Face's loaders ask for.
// Types that safetensors has: F32, F16, BF16, F64, I8, I16, I32, I64. Throws Error{kUnsupported} for another,
// Error{kFormat} for two of one name, Error{kIo}, and Error{kInterrupted} when `stop` asks for it: then nothing is
// left.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const Progress& progress = {}, const Stop* stop = nullptr);

}  // namespace hunch
