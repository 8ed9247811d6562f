// What guesses, before they are computed, which neurons of an MLP or groups of heads will matter.
#pragma once
#include <cstddef>
#include <memory>
#include <string_view>

#include "base/compute.h"
#include "base/error.h"
#include "base/view.h"
#include "select/archive.h"

namespace hunch {

// Scores n_out units from an input vector. Knows nothing of models: whoever uses it decides what the input
// is, and keeps to what the predictor was fitted on. Owns its small vectors; matrices are views into what
// the maker keeps alive. Immutable: any number of threads may hold it, each with its own scratch.
class Predictor {
 public:
  virtual ~Predictor() = default;

  // The larger the score of a unit, the more its computation is expected to be worth. Scores compare
  // between the units of one layer; Predicted turns them into Rows.
  //
  //   X       [n_tokens, n_in]
  //   scores  [n_tokens, n_out]  written; may not overlap X
  virtual void score(Compute& compute, MatView<const float> X, MatView<float> scores) const = 0;

  // Who scores the neurons of this expert (Evidence::expert); nullptr: nobody, all of them count.
  virtual const Predictor* of(uint32_t) const { return this; }
  virtual size_t n_experts() const { return 0; }  // 0: of the layer's own MLP, or of its heads

  virtual std::string_view kind() const = 0;  // "lowrank", "hot", ...
  virtual size_t n_in() const = 0;
  virtual size_t n_out() const = 0;
  // Bytes that one prediction reads, however many tokens it is for.
  virtual size_t bytes() const = 0;

  // Scores units [first, first + n) as this one does, and no others; of experts, of each. Points into what this one
  // points into.
  virtual std::shared_ptr<const Predictor> part(size_t /*first*/, size_t /*n*/) const {
    HUNCH_CHECK(false, "no part of a predictor of kind {}", kind());
  }

  // What load_predictor() knows it by, and all that it needs besides n_in and n_out.
  virtual std::string_view stored_kind() const { return kind(); }
  virtual void save(ArchiveWriter& archive) const {
    HUNCH_CHECK(false, "no format for a predictor of kind {}", kind());
  }
};

}  // namespace hunch
