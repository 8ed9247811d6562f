// GPTQ: weights rounded column by column, each error made up for by the columns that are still open (Frantar et al.
// 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", arXiv:2210.17323).
#pragma once
#include "compress/matrix/column_sweep.h"
#include "compress/matrix/group_grid.h"

namespace hunch {

struct GptqOptions {
  GridOptions grid;
  // Grids of the weights as they were, of neighbouring columns, even where the sweep visits them in another order.
  bool static_groups = false;
  size_t n_together = 128;  // columns
};

// Rounds to the grids of groups; `out` fills up as the sweep goes on.
class GridRule final : public ColumnRule {
 public:
  // All must outlive the rule.
  GridRule(const Matrix& W, const InverseHessian& inverse, const GptqOptions& options);
  float settle(const Place& place, float w) override;

  CodedMatrix out;

 private:
  const GptqOptions& options_;
  const std::vector<uint32_t>& order_;
  size_t group_;
  bool fits_late_;
  std::vector<std::vector<Grid>> grids_;  // [n_out] of the present group, or of all
};

// W [n_out, n_in] in codes; `inverse` of its inputs, whose order is the sweep's. Without static groups, a grid is
// fitted when the sweep comes to its first column, to the group's weights as they were at the beginning of the run of
// n_together columns: a group is then one of the sweep's order (group[] says which). Throws as group_of and
// sweep_columns.
CodedMatrix gptq(Compute& compute, const Matrix& W, const InverseHessian& inverse, const GptqOptions& options);

}  // namespace hunch
