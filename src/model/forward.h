// The forward pass: token ids in, logits out, for any number of sequences at once.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/matmul_ragged.h"
#include "model/batch_costs.h"
#include "model/column_weights.h"
#include "model/model.h"
#include "model/packed_mlp.h"
#include "model/sparse_plan.h"
#include "select/prompt_statistic.h"
#include "base/rows.h"
#include "state/kv_cache.h"

namespace hunch {

enum class Mode : uint8_t {
  kDense,   // every weight is read
  kExact,   // down-projection rows of neurons that ReLU set to zero are skipped; equal to rounding
  kSparse,  // only the neurons that the plan's predictors choose are computed; approximate
};

// A run of consecutive new tokens of one sequence.
struct SequenceRun {
  KvCache::SequenceId sequence;
  size_t n_tokens;
  // GRIFFIN: statistics [n_layer] that these tokens, a prompt, are added to (their MLPs are computed densely), or none;
  std::span<PromptStatistic> observed = {};
  // and in sparse mode the neurons that an earlier prompt chose for these tokens, in layers that the plan gives to
  // GRIFFIN; none: dense.
  const PackedMlps* packed = nullptr;
};

// What one token is restricted to, layer by layer: neurons of the MLP and heads of attention.
struct TokenSelection {
  std::vector<Rows> neurons, heads;  // [n_layer] each
};

struct ForwardInput {
  std::span<const int32_t> ids;                // [n_tokens] all runs one after the other
  std::span<const SequenceRun> runs;           // their n_tokens sum to ids.size()
  std::span<const uint32_t> logit_rows;        // tokens whose logits are wanted, strictly increasing
  std::span<const TokenSelection> selections;  // [n_tokens], or empty: nothing is restricted
  // Every token gets the bits that a pass over it alone would give, so that a pass that verifies drafted
  // tokens decides as decoding them one by one would. Weights are still read once for all tokens; meant for
  // a few (docs/speculation.md).
  bool as_alone = false;
  // Of every row of logits only the largest must be right, as greedy decoding wants it: the others may be the guesses
  // of the plan's screen, none of which exceeds it.
  bool only_best = false;
};

// What a forward pass touched. Bytes are counted where the kernels are called, not estimated.
struct ForwardStats {
  uint64_t n_tokens = 0, weight_bytes = 0, kv_bytes = 0;
  uint64_t predictor_bytes = 0;  // part of weight_bytes
  // Decode batches: products whose rows were chosen for several tokens, by how they were read (RowPath); and of each of
  // these products the rows that any token needed, of all rows.
  std::array<uint64_t, kNumRowPaths> batch_products{};
  uint64_t union_rows = 0, union_of = 0;
  // [n_layer], summed over tokens. Active: not zero, and in sparse mode all that the predictor chose. With TEAL, which
  // leaves out inputs instead of neurons: the MLP's weights, and those that were multiplied.
  std::vector<uint64_t> active_neurons, all_neurons;
  std::vector<uint64_t> active_heads, all_heads;  // [n_layer]
  void add(const ForwardStats& other);
};

enum class Branch : uint8_t { kAttention, kMlp };

// Sees intermediate values as they are made. Views live only during the call.
class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  // The residual stream that enters the layer; layer == n_layer: the stream before the final norm.
  virtual void on_residual(size_t layer, MatView<const float> resid) {}
  // What attention reads, [n_tokens, n_embd]: the stream before attention, normalised where the model does so.
  virtual void on_attention_input(size_t layer, MatView<const float> attn_in) {}
  // What attention works with, normalised and rotated as the model wants it: q [n_tokens, n_head * d_head],
  // k and v [n_tokens, n_kv_head * d_head] of the new tokens only.
  virtual void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float> v) {}
  // Head outputs before W_o, [n_tokens, n_head * d_head].
  virtual void on_heads(size_t layer, MatView<const float> attn_out) {}
  // Input of the MLP and its activations act(..) (times up, where gated), [n_tokens, n_ff]. Dense layers only.
  virtual void on_mlp(size_t layer, MatView<const float> mlp_in, MatView<const float> ff_act) {}
  // F(X) of a branch as it is about to be added, times config.residual_scale, to the stream X; both [n_tokens, n_embd].
  virtual void on_branch(size_t layer, Branch branch, MatView<const float> resid, MatView<const float> out) {}
  // Router logits [n_tokens, n_expert].
  virtual void on_router(size_t layer, MatView<const float> logits) {}
  // Input of the output projection, [n_logit_rows, n_embd_word].
  virtual void on_final(MatView<const float> final) {}
};

class Forward {
 public:
  // The three must outlive the Forward, which owns only its scratch buffers.
  Forward(const Model& model, KvCache& cache, Compute& compute);

  // Appends the runs' tokens to their sequences and returns the logits of `logit_rows`,
  // [n_logit_rows, n_vocab], valid until the next call. Throws Error{kLimit} when the cache is full
  // or a position lies beyond a learned table, Error{kUsage} for ids outside the vocabulary,
  // Error{kInterrupted} on Ctrl-C among many tokens; the sequences are then unchanged.
  MatView<const float> run(const ForwardInput& input);

  // As run(), but only layers [first, end), entered by `stream` [n_tokens, n_embd] (no data: by the ids' embeddings),
  // and without logits. Returns the stream that leaves them, valid until the next call. For calibrating a block at a
  // time; `stream` may not be what an earlier call returned.
  MatView<const float> run_blocks(const ForwardInput& input, size_t first, size_t end, MatView<const float> stream);

  Mode mode = Mode::kExact;
  const SparsePlan* plan = nullptr;  // Mode::kSparse needs one, of the model's layers; outlives the runs
  // Copies by input that CATS and TEAL gather from; without them small values become zeros and every weight is read.
  const ColumnWeights* columns = nullptr;
  // Sparse mode computes passes with a prompt (a run of more than kMaxGatheredTokens tokens) densely. With this, every
  // token is restricted to its predicted neurons whatever the size of the pass: what decoding would have computed, at a
  // prompt's speed. For measuring quality.
  bool predict_every_token = false;
  ForwardObserver* observer = nullptr;
  ForwardStats stats;  // accumulates until the caller clears it

  // A run of up to this many tokens is decoding, a longer one is a prompt. A pass decodes where all its runs do: zeros
  // are then skipped and, in sparse mode, every token is restricted to its own neurons and heads. Of one run, each
  // token's own neurons are gathered; several runs are a decode batch, whose rows are read in the fastest of three ways
  // (RowPath). A pass with a prompt in it is dense, for all its runs.
  static constexpr size_t kMaxGatheredTokens = 4;

  // What decides between the three ways; none: what is measured on the model's own weights.
  const BatchCosts* batch_costs = nullptr;

  // A cache shape that fits the model.
  static KvShape kv_shape(const ModelConfig& config, DType dtype = DType::kF32, size_t page_tokens = 32);

 private:
  // Keys and values of tokens [first, first + k.rows) of one KV head, computed later than the tokens.
  struct LateKeys {
    size_t head, first;
    MatView<float> k, v;
  };
  void begin(const ForwardInput& input);
  MatView<const float> compute(const ForwardInput& input);
  void blocks(const ForwardInput& input, size_t first, size_t end);
  void forget(const ForwardInput& input);
  void embed(const ForwardInput& input);
  // Attention: forward_attention.cc.
  void attention_block(size_t layer, MatView<const float> normed, MatView<float> out);
  void attention_selected(size_t layer, MatView<const float> normed, std::span<const Rows> groups,
                          MatView<float> out);
  void store_keys(size_t layer, MatView<float> k, MatView<float> v);
  void complete_keys(size_t layer);
  void project_lazily(size_t layer, size_t run, size_t token, std::span<const float> x, const Rows& chosen,
                      MatView<float> q);
  void finish_late_keys(size_t layer, KvCache::SequenceId sequence, const LateKeys& late);
  void select_heads(size_t layer, MatView<const float> attn_in);
  void predict_heads(size_t layer, MatView<const float> X);
  std::span<const Rows> selected_groups(size_t layer) const;
  void finish_queries(size_t layer, size_t token, const Rows& chosen, MatView<float> q);
  void finish_heads(MatView<float> x, const NormWeights& n, size_t first_head, MatView<const float> cos,
                    MatView<const float> sin);
  void keep_selected_heads(size_t layer, MatView<float> attn_out);
  // The MLP: forward_mlp.cc.
  void mlp_block(size_t layer, MatView<const float> mlp_in, MatView<float> out);
  void mlp(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed);
  void mlp_dense(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed,
                 PromptStatistic* statistic = nullptr);
  bool mlp_by_neuron(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed);
  void activate_rows(MatView<float> gate, MatView<float> up);
  void mlp_selected(const MlpWeights& m, const Rows& kept, std::span<const float> x, std::span<float> ff_act,
                    std::span<float> y);
  void finish_neurons(const MlpWeights& m, const WeightView& W_down_t, std::span<const float> x, std::span<float> act,
                      std::span<float> ff_act, std::span<float> y);
  bool restricts() const;
  // Whether each token's own rows are gathered, token after token.
  bool is_few(size_t n_tokens) const { return input_->as_alone || (decodes_ && n_tokens <= kMaxGatheredTokens); }
  // Decode batches: forward_batch.cc.
  bool is_batch(size_t n_tokens) const {
    return decodes_ && !input_->as_alone && input_->runs.size() > 1 && n_tokens > 1;
  }
  bool mlp_batch(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed);
  void finish_batch(size_t layer, const MlpWeights& m, const WeightView& W_down_t, MatView<const float> mlp_in,
                    MatView<float> ff_act, MatView<float> out, bool observed);
  ChosenRows choose_rows(RowProduct product, const WeightView& W, std::span<const Rows> own);
  // forward_smooth.cc
  bool mlp_smooth(size_t layer, MatView<const float> mlp_in, MatView<float> out);
  void mlp_cats(size_t layer, const MlpWeights& m, float threshold, MatView<const float> mlp_in, MatView<float> out);
  void mlp_teal(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out);
  void mlp_packed(size_t layer, const MlpWeights& m, const PackedMlp& packed, MatView<const float> mlp_in,
                  MatView<float> out);
  void project(size_t layer, InputPart part, MatView<const float> X, std::span<const MatmulTask> tasks);
  void project_gathered(size_t layer, InputPart part, const WeightView& by_input, float threshold,
                        MatView<const float> X, std::span<const MatmulTask> tasks);
  MatView<const float> without_small(size_t layer, InputPart part, size_t n_out, MatView<const float> X,
                                     float threshold);
  void down(const MlpWeights& m, MatView<const float> ff_act, MatView<float> out);
  void predict(size_t layer, PredictorInput input, MatView<const float> X);
  const Rows* selection_of(size_t layer, size_t token) const;
  void mixture(size_t layer, MatView<const float> mlp_in, MatView<float> out);
  MatView<const float> logits(const ForwardInput& input);
  void screened_logits(std::span<const float> final, std::span<float> out);

  void linear(MatView<const float> x, const Linear& l, MatView<float> y);
  void norm(MatView<const float> x, const NormWeights& n, MatView<float> y);
  void add_rows(MatView<const float> x, MatView<float> y);
  void count_neurons(size_t layer, uint64_t active, uint64_t all);
  MatView<float> buffer(Scratch& scratch, size_t rows, size_t cols);

  const Model& model_;
  const ModelConfig& c_;
  KvCache& cache_;
  Compute& compute_;
  std::vector<float> alibi_;

  // One call's state.
  const ForwardInput* input_ = nullptr;
  std::vector<size_t> position_, first_pos_, first_token_;  // per token, per run, per run
  std::vector<AttentionSpan> spans_;
  MatView<float> resid_, normed_, branch_, branch2_, cos_, sin_;
  Rows active_;
  std::vector<Rows> predicted_;  // [n_tokens] of this layer's MLP, where `is_predicted_`
  bool is_predicted_ = false;
  bool decodes_ = false;                            // every run is short
  std::vector<Rows> kept_rows_, active_rows_;  // [n_tokens] of this layer's MLP, in a batch
  Rows any_row_;
  // Groups of heads that the plan's predictors chose, [n_tokens], for this layer and for the next: layer l in
  // heads_[l % 2] where heads_layer_[l % 2] == l.
  std::vector<Rows> heads_[2];
  size_t heads_layer_[2] = {SIZE_MAX, SIZE_MAX};
  std::vector<LateKeys> late_;
  std::vector<RaggedTask> ragged_;
  // Rotations of recent positions, by position % KvCache::kMaxDeferred: those whose keys may still be missing.
  std::vector<float> late_rope_;
  std::vector<size_t> late_rope_position_;
  Rows shortlist_;
  std::vector<MatmulTask> tasks_;
  std::vector<double> rope_frequencies_;
  struct Route {
    uint32_t expert, token;
    float weight;
  };
  std::vector<Route> routes_;
  std::vector<uint32_t> order_;

  Scratch s_resid_, s_normed_, s_branch_, s_branch2_, s_q_, s_k_, s_v_, s_heads_, s_up_, s_gate_, s_rope_, s_logits_,
      s_word_, s_rows_, s_expert_in_, s_expert_out_, s_router_, s_score_, s_active_up_, s_kernel_, s_late_, s_late_in_,
      s_masked_, s_values_, s_sums_;
  std::vector<size_t> kept_;
  TokenBits bits_ = TokenBits::kFastest;
};

}  // namespace hunch
