// Copies of W_o in which the columns of each group of heads lie together.
#pragma once
#include <vector>

#include "base/aligned_buffer.h"
#include "model/model.h"
#include "model/sparse_plan.h"

namespace hunch {

// Whether sparse mode can leave heads out: not where one norm spans all heads of a query or key.
bool can_select_heads(const ModelConfig& config);

// Made for the layers that leave heads out, when a plan first asks for them. Without such a copy the selected columns
// are cut out of the rows as they lie in the file, in pieces shorter than a cache line where heads are narrow and
// weights quantised: then nothing is gained (docs/heads.md has the figures).
class HeadColumns {
 public:
  // Points the plan's layers at their copies, which live as long as this. Layers of a dtype whose blocks do not fit
  // between two heads, and all layers when memory is short, keep W_o as it lies. One caller at a time.
  void attach(const Model& model, Compute& compute, SparsePlan& plan);

 private:
  std::vector<AlignedBuffer> memory_;  // [n_layer], empty where not needed yet
  std::vector<ColumnBlocks> blocks_;
};

}  // namespace hunch
