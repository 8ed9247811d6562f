// A type for each matrix of a model, by how much the model minds its errors: `hunch compress --bits 4.5`.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "compress/compress_options.h"
#include "compress/type_budget.h"
#include "engine/engine.h"

namespace hunch {

// One of them: so many bits of a weight, over all matrices that are chosen, as the file has them; or as few as keep the
// perplexity of the text within 1 + max_ppl_increase of what it was.
struct MixedBudget {
  std::optional<double> bits, max_ppl_increase;
};

// A tensor of the file: a matrix, several that lie together, or all experts of a layer.
struct MixedTensor {
  std::string name;  // in the file
  LinearId id;       // of its first matrix
  uint64_t n_weights = 0;
  std::vector<DType> types;         // that its rows can have
  std::vector<TypeChoice> choices;  // what each takes, and its part of the divergence, nats of a token
  size_t chosen = 0;
  DType type() const { return types[chosen]; }
};

struct MixedTypes {
  std::vector<MixedTensor> tensors;   // in the file's order
  double bits = 0;                    // of a weight, in the mean
  double perplexity = 0, before = 0;  // of the text, rounded to the nearest; where max_ppl_increase asked for it
  std::map<std::string, DType> types() const;  // by tensor
  DType main_type() const;                     // that most weights have
};

// What each tensor loses in each type is measured in two steps: the squared error of its outputs on the text (dense
// inputs), in every type; and how far the model's predictions move, as a mean KL divergence over 512 tokens, when this
// tensor alone has the smallest one. The divergence grows as the squared error, so that the two give the loss in every
// type; bytes then go where they save most of it (type_budget.h).
//
// Of options: methods (rtn or gptq, perhaps after a pruner), roles, n_tokens. Throws Error{kUsage} for a budget that no
// choice of types meets, naming the least and the most, Error{kUnsupported} as compress_weights(), Error{kMemory},
// Error{kInterrupted}. The engine's model is the same afterwards.
MixedTypes choose_types(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
                        const MixedBudget& budget, const Progress& progress = {});

// The types that are chosen from, of rows of n_in.
std::vector<DType> mixed_candidates(const Methods& methods, size_t n_in);

}  // namespace hunch
