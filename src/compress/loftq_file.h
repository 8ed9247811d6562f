// `hunch compress --method loftq`: every matrix rounded, and in low rank beside it what rounding lost.
#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "compress/matrix/block_target.h"
#include "engine/engine.h"

namespace hunch {

struct LoftqOptions {
  size_t rank = 16;   // of every matrix, at most its smaller side
  size_t rounds = 5;  // in which rounding and low rank take turns
  BlockTarget target;
  DType pair_type = DType::kF16;
  std::vector<Role> roles = {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads, Role::kGate, Role::kUp, Role::kDown};
  size_t n_tokens = 16384;
  std::string text_name;
};

struct LoftqRole {
  size_t n_matrices = 0;
  double rounded = 0,
         error = 0;  // mean relative error without and with the pair: of outputs on the text, or of weights
  uint64_t n_weights = 0, bytes_before = 0, bytes = 0;
};

struct LoftqReport {
  std::map<Role, LoftqRole> roles;
  size_t n_tokens = 0;  // of the text that were used; 0: errors are of weights
  uint64_t bytes_before = 0, bytes = 0;
  std::vector<std::string> notes;
};

// Writes NAME.weight of the target's type and beside it NAME.low_rank_u and NAME.low_rank_v (io/low_rank_names.h),
// which hunch adds up as it computes (linear/corrected.h). `ids` empty: fitted to the weights alone, as published; else
// to the outputs on the text. Matrices that share a tensor with others, and experts, are rounded without; noted.
//
// Throws Error{kUsage} for a rank or rounds of 0 or a text that is too short, Error{kUnsupported} for a model that has
// other forms than plain blocks or a type that cannot be written; Error{kMemory}, Error{kInterrupted}, Error{kIo}: then
// no file is left. The engine's model is the same afterwards.
LoftqReport compress_loftq(const Engine& engine, std::span<const int32_t> ids, const LoftqOptions& options,
                           const std::filesystem::path& output, const Progress& progress = {});

}  // namespace hunch
