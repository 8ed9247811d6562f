// Writes tensors that are functions of their rows as a GGUF file.
#pragma once
#include <filesystem>
#include <span>

#include "io/model_file.h"
#include "synth/weights.h"

namespace hunch {

// Tensor by tensor: memory for one is all it takes. What `dtype` does not fit is written in another type, and noted.
// Throws Error{kUsage} for a type that cannot be written, Error{kIo} before anything is written when the disk has no
// room.
SynthReport write_tensors(const std::filesystem::path& output, const Metadata& meta,
                          std::span<const SynthTensor> tensors, DType dtype, Compute& compute,
                          const Progress& progress = {});

}  // namespace hunch
