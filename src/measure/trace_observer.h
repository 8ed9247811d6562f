// Watches the dense passes of a trace and gathers its numbers.
#pragma once
#include <array>
#include <vector>

#include "measure/needed_parts.h"
#include "measure/trace.h"
#include "measure/unit_sets.h"
#include "model/transformer.h"

namespace hunch {

// Runs of consecutive tokens that are looked at more closely. No run crosses a window, nor a batch of
// Context::kBatchTokens within it.
struct Sample {
  std::vector<size_t> firsts;  // of each run, counted from the first token of the text
  size_t n_run = 0;            // tokens of each run

  // At most 8 runs of at most 64 tokens, spread over n_windows windows of n_ctx tokens.
  static Sample spread_over(size_t n_windows, size_t n_ctx);
  size_t n_tokens() const { return firsts.size() * n_run; }
};

class TraceObserver : public Observer {
 public:
  // `engine` outlives the observer.
  TraceObserver(const Engine& engine, const Sample& sample, size_t n_tokens, std::span<const HeadId> heads);

  // Must be told where each window begins, counted from the first token of the text.
  void begin_window(size_t first_token);

  void on_residual(size_t layer, MatView<const float> resid) override;
  void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float> v) override;
  void on_heads(size_t layer, MatView<const float> attn_out) override;
  void on_branch(size_t layer, Branch branch, MatView<const float> resid, MatView<const float> out) override;
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override;
  void on_router(size_t layer, MatView<const float> logits) override;

  // Adds what was gathered to `trace`; called once, at the end.
  void finish(Trace& trace);

 private:
  struct Layer {
    ActiveRule rule = ActiveRule::kNonzero;
    size_t n_units = 0;
    std::vector<float> neuron_norm;                   // [n_ff]
    std::vector<float> active, needed_99, needed_90;  // shares, per token
    std::vector<uint32_t> counts;
    size_t n_counted = 0;
    std::optional<ExpertLoad> load;  // of experts
    UnitSets sets;                   // of the sample
    std::vector<double> head_norm;   // sums
    std::vector<float> heads_99, heads_90;
    std::vector<HeadHabit> habits;
    std::vector<float> stream[2], branch[2], ratio[2];  // per token
  };

  // Calls each(first row in this batch, first row in the sample) for the sample's runs that lie in this batch.
  template <class Each>
  void for_sampled_runs(size_t n_rows, Each&& each) const;
  void keep_maps(size_t layer, std::span<const HeadHabit> habits, MatView<const float> q, MatView<const float> k);
  void require_finite(size_t layer, const char* what, MatView<const float> values) const;

  const Engine& engine_;
  const ModelConfig& c_;
  const Sample sample_;
  const std::vector<HeadId> wanted_;
  std::vector<Layer> layers_;
  size_t window_first_ = 0, batch_first_ = 0, batch_rows_ = 0;
  size_t n_seen_ = 0;
  std::vector<float> stream_rows_;  // [n_layer + 1][n_kept_][n_embd] some rows of the batch
  size_t n_kept_ = 0, n_compared_ = 0;
  std::vector<double> cosine_;
  std::vector<AttentionMap> maps_;
};

}  // namespace hunch
