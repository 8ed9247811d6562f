// `hunch compress --method`: what is done to the matrices of a model, and what came of it.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/matrix/block_target.h"
#include "compress/matrix/int8_matrix.h"
#include "compress/matrix/prune_mask.h"
#include "compress/store_sparse.h"
#include "linear/linear.h"

namespace hunch {

// What weights are compared with when the smallest go, by magnitude.
enum class PruneScope : uint8_t { kMatrix, kRow, kGlobal };
enum class Pruner : uint8_t { kNone, kMagnitude, kWanda, kSparseGpt };
// kNf4 rounds to numbers that no block format has, so that they are written as floats. The last four round inputs too,
// to int8 as the weights.
enum class Rounder : uint8_t { kNone, kNearest, kGptq, kAwq, kNf4, kW8A8, kSmoothQuant, kZeroQuant, kLlmInt8 };
inline bool rounds_inputs(Rounder rounder) { return rounder >= Rounder::kW8A8; }
// Whether inputs of matrices are divided by scales that norms and the matrices before take in.
inline bool scales_inputs(Rounder rounder) { return rounder == Rounder::kAwq || rounder == Rounder::kSmoothQuant; }

struct Methods {
  Pruner pruner = Pruner::kNone;
  Rounder rounder = Rounder::kNone;
};
// "gptq", "wanda", "sparsegpt,gptq": a pruner, a rounder, or one after the other. Throws Error{kUsage} naming what is
// possible.
Methods parse_methods(std::string_view list);
std::string name_of(const Methods& methods);
std::vector<std::string> weight_method_names();

struct CompressOptions {
  Methods methods;
  Sparsity sparsity;  // of a pruner
  PruneScope scope = PruneScope::kMatrix;
  std::optional<float> magnitude_limit;  // kGlobal: weights that do not exceed it go; compress_weights() finds it
  BlockTarget target;                  // what weights are written as; kI8 where inputs are rounded too, as `int8` says
  std::map<std::string, DType> types;  // by tensor of the file: instead of `target` (compress/mixed_types.h)
  Int8Options int8;
  float outliers_from = 6;      // LLM.int8(): inputs that are ever so large are apart
  std::optional<double> alpha;  // SmoothQuant's strength; none: searched in every layer
  double damping = 0.01;        // GPTQ, SparseGPT: of the mean diagonal of X^T X
  bool act_order = false;       // GPTQ: columns with the largest inputs first
  bool dense_inputs = false;    // blocks are entered by what the model's own blocks before them make of the text
  size_t n_tokens = 16384;      // of the text, in windows spread evenly over it
  std::vector<Role> roles = {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads, Role::kGate, Role::kUp, Role::kDown};
  // Those of them whose inputs are rotated when they are multiplied (linear/rotated.h), kHeads or kDown, and that are
  // rounded for that; with rounders that do not look at single inputs: kNearest, kGptq, kNf4.
  std::vector<Role> rotated;
  bool without_zeros = true;  // pruned matrices are written so where that takes less (compress/store_sparse.h)
  std::string text_name;      // for the file's metadata
  // A folder for finished layers, found again by the same call after an interruption and removed at the end; none:
  // nothing is kept.
  std::filesystem::path finished;
};

// Of all matrices of one role.
struct CompressedRole {
  size_t n_matrices = 0;
  double error = 0, worst = 0;  // of the outputs on the text, relative: mean and largest
  uint64_t n_weights = 0, n_zeros = 0, bytes_before = 0, bytes = 0;
};

struct CompressReport {
  std::map<Role, CompressedRole> roles;
  size_t n_tokens = 0;                   // of the text that were used
  size_t n_resumed = 0;                  // layers that were finished before
  uint64_t bytes_before = 0, bytes = 0;  // of all tensors
  SparseReport sparse;                   // what was written without its zeros; `bytes` are what is written
  std::vector<std::string> notes;
};

// Fewer tokens say too little about the inputs of any matrix.
constexpr size_t kMinCompressTokens = 256;

}  // namespace hunch
