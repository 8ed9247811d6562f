// Writing a model in another dtype: HF -> GGUF, and round-to-nearest quantisation of GGUF.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/compute.h"
#include "base/progress.h"
#include "compress/quant_mix.h"
#include "io/file_types.h"
#include "io/imatrix.h"
#include "io/model_file.h"

namespace hunch {

struct ConvertOptions {
  DType dtype = DType::kF16;
  DownFile down = DownFile::kAuto;
  const QuantMix* mix = nullptr;                 // which types the matrices get; none: dtype, all of them
  const ImportanceMatrix* importance = nullptr;  // weighs the errors of encoding; none: all weigh the same
  bool keep_blocks = false;                      // matrices that are quantised already stay what they are, and those
                                                 // without their zeros too
};

struct ConvertReport {
  struct Type {
    DType dtype;
    size_t n_tensors;
    uint64_t n_weights, bytes;
  };
  size_t n_tensors = 0;
  uint64_t bytes = 0;
  DType dtype = DType::kF16;  // what was asked for; where blocks stay as they are, what most is
  std::vector<Type> types;    // what was written, the type with the most bytes first
  size_t n_unweighted = 0;    // quantised matrices of which `importance` says nothing
  // One line per tensor that could not be written as asked, e.g. rows that are no multiple of a block.
  std::vector<std::string> notes;
};

// Matrices become options.dtype; norms, biases, positions and routers stay f32 as in llama.cpp's files. A matrix
// whose rows are not whole blocks falls back (fitting_dtype()), noted. Already quantised
// input is decoded to a float dtype, and refused with Error{kUnsupported} for another quantised one (requantising loses
// quality twice). Matrices without their zeros (io/sparse_tensors.h) count as the blocks that they are the numbers of.
// The output is written atomically, so it may even replace the file that is being read.
ConvertReport convert_model(const ModelFile& model, const std::filesystem::path& output, const ConvertOptions& options,
                            Compute& compute, const Progress& progress = {});

}  // namespace hunch
