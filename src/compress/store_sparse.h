// Pruned matrices written without their zeros (io/sparse_tensors.h).
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "base/compute.h"
#include "base/progress.h"
#include "io/model_file.h"

namespace hunch {

struct SparseReport {
  struct Matrix {
    DType dtype = DType::kF16;
    uint64_t n_weights = 0, n_zeros = 0, dense_bytes = 0, bytes = 0;
  };
  std::map<std::string, Matrix> matrices;  // those without their zeros, by the name of their dense tensor
  uint64_t dense_bytes = 0, bytes = 0;     // of these
  uint64_t n_weights = 0, n_zeros = 0;
};

// What became of them, in a line; empty where there are none.
std::string describe(const SparseReport& report);

// Writes `model` to `output` with every matrix of a layer's attention and MLP without its zeros where it then has less
// than 0.9 of its bytes; everything else as it was. Types that have sparse rows: q8_0, q4_0, f16. The numbers stay what
// they are. Where there is no such matrix nothing is written. Atomic, so that `output` may be the file that is read.
SparseReport store_sparse(const ModelFile& model, const std::filesystem::path& output, Compute& compute,
                          const Progress& progress = {});

}  // namespace hunch
