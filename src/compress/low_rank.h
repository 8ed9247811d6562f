// `hunch compress --low-rank`: the matrices of a model as products of two thin ones, fitted to what they read on a
// text.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"

namespace hunch {

// What the factors are nearest to: the weights (the plain SVD), weights by the size of their inputs (ASVD, Yuan et al.
// 2023, arXiv:2312.05821, with its alpha of 0.5), or the outputs (SVD-LLM).
enum class SvdOf : uint8_t { kWeights, kScaledWeights, kOutputs };
const char* name_of(SvdOf kind);  // "svd", "asvd", "svd-llm"

struct LowRankOptions {
  double ratio = 0.5;  // of each matrix' parameters that stay, more than 0 and less than 1
  SvdOf kind = SvdOf::kOutputs;
  size_t n_tokens = 16384;     // of the text, in windows spread evenly over it
  std::optional<DType> dtype;  // of the factors; none: what most of the model's weights are, if hunch can write that
  std::vector<Role> roles = {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads, Role::kGate, Role::kUp, Role::kDown};
  std::string text_name;  // for the file's metadata
};

// Of all matrices of one role.
struct LowRankRole {
  size_t n_matrices = 0, rank = 0;  // rank of the last one
  double error = 0, worst = 0;      // of the outputs on the text, relative: mean and largest
  uint64_t bytes_before = 0, bytes = 0;
};

struct LowRankReport {
  std::map<Role, LowRankRole> roles;
  size_t n_tokens = 0;                   // of the text that were used
  uint64_t bytes_before = 0, bytes = 0;  // of all tensors
  DType dtype = DType::kF16;
  std::vector<std::string> notes;
};

// Fewer tokens say too little about the inputs of any matrix.
constexpr size_t kMinLowRankTokens = 256;

// Writes the model with every matrix of these roles as a pair (io/low_rank_names.h), everything else as it was. Layer
// by layer, as the file is written: each is fitted to what the compressed layers before it make of the text (SVD-LLM,
// Wang et al. 2024, section 3.2), and forgotten. The engine's model is the same afterwards.
//
// Throws Error{kUsage} for a ratio or a text that makes no sense, Error{kUnsupported} for a model that is of low rank
// already, Error{kMemory}, Error{kInterrupted}, Error{kIo}; then no file is left.
LowRankReport compress_low_rank(const Engine& engine, std::span<const int32_t> ids, const LowRankOptions& options,
                                const std::filesystem::path& output, const Progress& progress = {});

}  // namespace hunch
