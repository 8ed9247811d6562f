// Writing a model in another dtype: HF -> GGUF, and round-to-nearest quantisation of GGUF.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/compute.h"
#include "base/progress.h"
#include "io/file_types.h"
#include "io/model_file.h"

namespace hunch {

struct ConvertOptions {
  DType dtype = DType::kF16;
  DownFile down = DownFile::kAuto;
};

struct ConvertReport {
  size_t n_tensors = 0;
  uint64_t bytes = 0;
  // One line per tensor that could not be written as asked, e.g. rows that are no multiple of a block.
  std::vector<std::string> notes;
};

// Matrices become options.dtype; norms, biases, positions and routers stay f32 as in llama.cpp's files. A matrix
// whose rows are not whole blocks falls back (q4_k, q6_k -> q8_0 -> f16), noted. Already quantised
// input is refused with Error{kUnsupported} unless the dtype stays (requantising loses quality twice).
// The output is written atomically, so it may even replace the file that is being read.
ConvertReport convert_model(const ModelFile& model, const std::filesystem::path& output, const ConvertOptions& options,
                            Compute& compute, const Progress& progress = {});

}  // namespace hunch
