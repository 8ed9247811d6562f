// One matrix of a model through the methods that were asked for.
#pragma once
#include "compress/compress_options.h"
#include "compress/input_moments.h"

namespace hunch {

// Codes on grids, beside the values that they stand for: what quantised checkpoints store.
struct CodedSide {
  std::vector<uint8_t> codes;  // [n_out * n_in]
  Matrix scale, zero;          // [n_out, n_groups] of neighbouring inputs
};

struct CompressedMatrix {
  LinearId id;
  std::vector<float> bias;  // [n_out] or empty: that of the matrix, as scales leave it
  EncodedMatrix encoded;
  Int8Side int8;        // beside codes of int8
  CodedSide coded;      // beside f32, where the target is a grid
  double error = 0;     // of the outputs on the text, relative
  size_t n_tokens = 0;  // that it was fitted to; 0: none came by, and its weights alone decided
  uint64_t n_zeros = 0;
  double damping = 0;  // more than was asked for where the inputs' moment is singular; 0: not needed
};

// Part of a vector of the file with other values: norms and biases that scales were folded into.
struct ChangedVector {
  std::string tensor;
  size_t first = 0;
  std::vector<float> values;
};

// Of a layer.
struct CompressResult {
  std::vector<CompressedMatrix> matrices;  // those chosen, in the layer's order
  std::vector<ChangedVector> vectors;
};

// The inverses that a layer's matrices need, of which those that read the same inputs share one.
class InverseCache {
 public:
  InverseCache(Compute& compute, const CompressOptions& options) : compute_(compute), options_(options) {}
  // Valid until another moment is asked for.
  const InverseHessian& of(const InputMoment& moment);
  void clear() { moment_ = nullptr, inverse_ = {}; }

 private:
  Compute& compute_;
  const CompressOptions& options_;
  const InputMoment* moment_ = nullptr;
  InverseHessian inverse_;
};

// `outliers`: inputs that stay floats where others are rounded.
// W [n_out, n_in] as `target`, by options.methods (but for AWQ's scales and clips, which come before). Without tokens
// in the moment, pruned by magnitude and rounded to the nearest. Throws as invert_hessian, sweep_columns,
// check_pattern.
CompressedMatrix compress_matrix(Compute& compute, const LinearId& id, const Matrix& W, const InputMoment& moment,
                                 InverseCache& inverses, const BlockTarget& target, const CompressOptions& options,
                                 std::span<const uint32_t> outliers = {});

// ||(A - B) X|| / ||A X|| for X^T X = M.
double relative_error(Compute& compute, const Matrix& A, const Matrix& B, const Matrix& M);

}  // namespace hunch
