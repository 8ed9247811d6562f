// What each token activates and what a plan chose for it, kept for export: the raw data behind contextual sparsity.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "base/half.h"
#include "model/config.h"
#include "model/observer.h"

namespace hunch {

class ActivationTrace : public Observer {
 public:
  // Row-major, a row per token; empty where the layer has no such thing.
  struct Layer {
    std::vector<f16> activations;   // [n_tokens, n_ff] what the down projection reads; none of a mixture's layers
    std::vector<uint8_t> neurons;   // [n_tokens, n_ff] 1: was read, 0: was left out by the plan
    std::vector<uint8_t> groups;    // [n_tokens, n_kv_head] the same of the groups of heads
    std::vector<float> head_norms;  // [n_tokens, n_head] ||output of the head||, before W_o
    std::vector<float> router;      // [n_tokens, n_expert] logits of a mixture's gate
  };

  // For a text of so many tokens, given in as many steps as it takes. Throws Error{kLimit} where it would take more
  // than 4 GB.
  ActivationTrace(const ModelConfig& config, size_t n_tokens);

  void on_residual(size_t layer, MatView<const float> resid) override;
  void on_rows(size_t layer, Point point, InputPart part, std::span<const uint32_t> tokens, const RowSet& rows,
               size_t n_rows) override;
  void on_heads(size_t layer, MatView<const float> attn_out) override;
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override;
  void on_router(size_t layer, MatView<const float> logits) override;

  const std::vector<Layer>& layers() const { return layers_; }
  std::vector<Layer> take_layers() { return std::move(layers_); }  // when all is seen

 private:
  const ModelConfig& c_;
  std::vector<Layer> layers_;
  size_t n_tokens_, first_ = 0, n_rows_ = 0;  // of the present step
};

}  // namespace hunch
