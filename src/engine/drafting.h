// What a run drafts with, put together and owned: draft model, its context, and the drafters.
#pragma once
#include <memory>

#include "engine/generate.h"
#include "engine/speculate.h"

namespace hunch {

struct DraftingOptions {
  bool ngram = false;                            // look repeated endings up
  bool sparse = false;                           // the model itself in sparse mode: needs its sidecar
  std::shared_ptr<const KeySelector> keys = {};  // the model itself, reading what these choose of the cache, or none
  std::shared_ptr<const Engine> model;           // a draft model, or none; best with the target's thread compute
  size_t n_tokens = 0;                           // drafted at a time; 0: as many as pays
  bool any() const { return ngram || sparse || keys || model; }
  bool operator==(const DraftingOptions&) const = default;
};

// Drafters for one sequence, asked in this order: n-grams, which cost nothing, then the draft model, then the
// model itself on the sequence's KV cache, in sparse mode, or with a part of the keys, or both.
class Drafting {
 public:
  // The engine must outlive this. Throws as require_same_vocabulary, Speculation and Context; Error{kUsage} for a
  // sparse draft of a sequence that is sparse itself, or of one that does not read all keys, and for keys that are
  // dropped.
  Drafting(const Engine& engine, const Sequence& sequence, const DraftingOptions& options);

  Speculation& speculation() { return speculation_; }

 private:
  DraftingOptions options_;
  std::unique_ptr<Context> model_context_, own_context_;
  Speculation speculation_;
};

}  // namespace hunch
