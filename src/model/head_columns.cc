#include "model/head_columns.h"

#include "base/memory_info.h"

namespace hunch {

bool can_select_heads(const ModelConfig& config) { return config.qk_norm != QkNorm::kAllHeads; }

void HeadColumns::attach(const Model& model, Compute& compute, SparsePlan& plan) {
  const ModelConfig& c = model.config();
  memory_.resize(c.n_layer);
  blocks_.resize(c.n_layer);
  for (size_t l = 0; l < plan.layers.size(); ++l) {
    HeadPlan& heads = plan.layers[l].heads;
    if (!heads.groups) continue;
    if (!blocks_[l]) {
      const WeightView& W = model.weights().layers[l].o.W;
      if (!can_cut_columns(W.dtype, W.cols / c.n_kv_head)) continue;
      const ColumnBlocks cut = column_blocks(W, c.n_kv_head);
      const uint64_t available = available_memory_bytes();
      if (available && 4 * uint64_t{block_major_bytes(cut)} > available) return;
      memory_[l] = AlignedBuffer(block_major_bytes(cut));
      blocks_[l] = to_block_major(compute, cut, memory_[l].data());
    }
    heads.W_o = blocks_[l];
  }
}

}  // namespace hunch
