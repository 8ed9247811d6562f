// One sequence in its own KV cache, and how it is computed: prompts go in, logits come out.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"
#include "model/transformer.h"

namespace hunch {

struct ContextOptions {
  size_t n_ctx = 0;              // tokens; 0: the model's own, at most `kDefaultMaxContext`
  DType kv_dtype = DType::kF32;  // kF32 is exact; kF16 halves the cache and rounds
  std::string mode = "exact";    // Engine::plan_named(mode, density)
  double density = 0;
  std::shared_ptr<const Plan> plan;  // instead of these two
  // Of the engine's model (Engine::load_adapter); nullptr: the model as it is. Not said: Engine::adapter, or that of
  // the context whose sequence is shared.
  std::optional<std::shared_ptr<const Adapter>> adapter;
  // Two-pass oracle (Liu et al. 2023, section 3.1): each token is first computed densely, then again
  // with only this share of the neurons, and of the heads, those with the largest output norms. 1 = off.
  double oracle_density = 1.0, oracle_head_density = 1.0;
  // Every token is restricted as decoding would restrict it, however many are computed together: for measuring quality.
  // Where a plan learns from prompts (GRIFFIN), the first half of a full context is the prompt (Context::set_prompt).
  bool decodes_all = false;
  bool has_oracle() const { return oracle_density < 1 || oracle_head_density < 1; }
};

// Without --ctx, long-context models do not reserve their whole context.
constexpr size_t kDefaultMaxContext = 4096;

// The context that would be used: checks `n_ctx` against the model. Beyond the trained context a
// learned table throws Error{kLimit}; RoPE and ALiBi go on (the caller warns).
size_t resolve_context(const ModelConfig& config, size_t n_ctx);

class Context {
 public:
  // Memory is checked before it is reserved: Error{kMemory} names what is needed and available.
  Context(const Engine& engine, const ContextOptions& options);
  // The sequence of `host`, which must outlive this, computed another way: what one appends or truncates, the
  // other sees. Length and type of the cache are the host's.
  Context(const Engine& engine, const ContextOptions& options, const Context& host);
  ~Context();

  // Appends a prompt and returns the logits after its last token, [n_vocab], valid until the next call.
  // It is computed in batches of kBatchTokens; a stop in a long one throws Error{kInterrupted}.
  // Error{kLimit} when the context is full: nothing is then appended.
  std::span<const float> append(std::span<const int32_t> ids, const Progress& progress = {});
  // The same of one token of an answer, or a few: restricted as the plan says.
  std::span<const float> decode(std::span<const int32_t> ids);
  // As append(), but hands out the logits of every position, a batch at a time:
  // each(first index, logits [n, n_vocab]).
  void append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each);
  // As decode(), but returns the logits of each id, [n, n_vocab], valid until the next call. Every row has the
  // bits that decode() of one id after the other would give. Error{kLimit} as append().
  MatView<const float> verify(std::span<const int32_t> ids);
  void truncate(size_t n_tokens);
  // From now on only the largest logit of each position must be right (Run::only_best).
  void set_only_best(bool only_best) { only_best_ = only_best; }
  // With `decodes_all` and a plan that learns from prompts: the first n tokens of the sequence are its prompt.
  void set_prompt(size_t n_tokens) { n_prompt_ = n_tokens; }
  // Whether the plan learns from prompts.
  bool learns_from_prompts() const;
  size_t n_tokens() const { return sequence_->ids.size(); }
  std::span<const int32_t> ids() const { return sequence_->ids; }  // what was appended
  size_t n_vocab() const { return engine_.config().n_vocab; }
  const Plan& plan() const { return *plan_; }
  size_t n_ctx() const { return n_ctx_; }
  size_t kv_bytes() const;

  // Throws Error{kInterrupted} when the engine's present call is to stop.
  void throw_if_stopped() const { engine_.compute->throw_if_stopped(); }
  // Who watches the passes, or nullptr.
  void set_observer(Observer* observer) { transformer_->observer = observer; }
  const StepStats& stats() const { return transformer_->stats; }
  void clear_stats() { transformer_->stats = {}; }
  static constexpr size_t kBatchTokens = 512;

 private:
  struct Sequence {
    std::unique_ptr<KvCache> cache;
    KvCache::SequenceId id = 0;
    std::vector<int32_t> ids;
    std::vector<std::shared_ptr<const Plan>> plans{};  // of all contexts on it
    SelectorStates states{};                           // of the selectors of these
  };
  void begin();
  void check_room(size_t n_tokens) const;
  void pack_settled();
  std::span<const uint32_t> all_rows(size_t n);
  MatView<const float> run(std::span<const int32_t> ids, std::span<const uint32_t> rows, Phase phase,
                           bool as_alone = false);

  const Engine& engine_;
  ContextOptions options_;
  size_t n_ctx_;
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<const Adapter> adapter_;  // may be none
  size_t n_prompt_ = 0;
  bool only_best_ = false;
  uint64_t packed_name_ = 0;  // of the copies that were made for this sequence
  std::shared_ptr<Sequence> sequence_;
  std::unique_ptr<Transformer> transformer_;
  std::vector<uint32_t> all_rows_;
  std::unique_ptr<class OracleRecorder> oracle_;
};

// Makes the copies of weights that the plan's selectors gather from: before steps that use it. Throws Error{kMemory}.
void prepare_layouts(const Engine& engine, const Plan& plan);

}  // namespace hunch
