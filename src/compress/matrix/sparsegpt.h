// SparseGPT: weights pruned column by column, each loss made up for by the columns that are still open (Frantar and
// Alistarh 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", arXiv:2301.00774).
#pragma once
#include "compress/matrix/column_sweep.h"
#include "compress/matrix/prune_mask.h"

namespace hunch {

// Decides which weights of a sweep become 0; the others are settled by another rule, or stay as they are.
class PruneRule final : public ColumnRule {
 public:
  // Chooses on the way, by w^2 / U[j, j]^2: of a run of columns the lowest share of all rows together, or so many of
  // every m neighbours of a row as they are when the sweep comes to them. `inner`: none, or what the kept become. All
  // must outlive the rule. Throws as check_pattern.
  PruneRule(const InverseHessian& inverse, const Sparsity& sparsity, size_t n_out, ColumnRule* inner);
  // By a mask that is known, in W's own order.
  PruneRule(const InverseHessian& inverse, Mask mask, size_t n_out, ColumnRule* inner);

  void begin_columns(size_t first, size_t n, MatView<const float> W) override;
  float settle(const Place& place, float w) override;

 private:
  uint8_t& at(size_t row, size_t column) { return mask_[row * n_in_ + column]; }
  float score(float w, size_t column) const;

  const InverseHessian& inverse_;
  const Sparsity sparsity_;
  const size_t n_in_;
  bool is_known_ = false;
  Mask mask_;  // in the order of the sweep
  ColumnRule* inner_;
};

// W [n_out, n_in] with zeros, the rest changed to make up for them; with `quantiser`, rounded by it in the same sweep
// (section 3.5). A pattern wants an `inverse` whose order is W's own. Throws as sweep_columns and check_pattern.
Matrix sparsegpt(Compute& compute, const Matrix& W, const InverseHessian& inverse, const Sparsity& sparsity,
                 size_t n_together = 128, ColumnRule* quantiser = nullptr);

}  // namespace hunch
