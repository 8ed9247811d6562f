// One sequence in its own KV cache, for who wants its logits: prompts go in, logits come out.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/batch.h"

namespace hunch {

struct ContextOptions {
  size_t n_ctx = 0;              // tokens; 0: the model's own, at most `kDefaultMaxContext`
  KvType kv_type = DType::kF32;  // kF32 is exact; kF16 halves the cache and rounds
  std::string mode = "exact";    // Engine::plan_named(mode, density)
  double density = 0;
  std::shared_ptr<const Plan> plan;               // instead of these two
  std::shared_ptr<const KeySelector> keys;        // who chooses cached tokens, whatever the plan; none: all stay
  std::string prefill;                            // what queries of prompts read (prompt_patterns()); empty: everything
  std::shared_ptr<const ExpertSelector> experts;  // who routes the tokens of a mixture; none: its own gate
  // Of the engine's model (Engine::load_adapter); nullptr: the model as it is. Not said: Engine::adapter, or that of
  // the context whose sequence is shared.
  std::optional<std::shared_ptr<const Adapter>> adapter;
  // SequenceOptions' oracle
  double oracle_density = 1.0, oracle_head_density = 1.0;
  // Every token is restricted as decoding would restrict it, however many are computed together: for measuring quality.
  // Where a plan learns from prompts (GRIFFIN, SnapKV), the first half of a full context is the prompt
  // (Context::set_prompt).
  bool decodes_all = false;
  bool has_oracle() const { return oracle_density < 1 || oracle_head_density < 1; }
};

// The patterns that a text names: those of all heads and layers (prompt_patterns_from()), or "sidecar": those that
// `hunch sparsify --prefill` found for each. Throws Error{kUsage}, Error{kNotFound} for a sidecar that has none.
std::shared_ptr<const PromptPatterns> prompt_patterns(const Engine& engine, std::string_view text);

// What of these a sequence needs: the plan that they name or hold, and the rest. Throws as Engine::plan_named().
SequenceOptions sequence_options(const Engine& engine, const ContextOptions& options);

// The same of a context that has place for the adapter's virtual tokens beside its n_ctx, as far as the model has
// positions for them.
ContextOptions with_virtual_tokens(const Engine& engine, ContextOptions options);

class Context {
 public:
  // Throws as Batch and Sequence.
  Context(const Engine& engine, const ContextOptions& options);
  // The sequence of `host`, of the same model, computed another way: what one appends or truncates, the other sees.
  // Length and type of the cache are the host's.
  Context(const Engine& engine, const ContextOptions& options, const Sequence& host);

  // Appends a prompt and returns the logits after its last token, [n_vocab], valid until the next call.
  // It is computed in batches of kBatchTokens; a stop in a long one throws Error{kInterrupted}.
  // Error{kLimit} when the context is full: nothing is then appended.
  std::span<const float> append(std::span<const int32_t> ids, const Progress& progress = {});
  // The same of one token of an answer, or a few: restricted as the plan says.
  std::span<const float> decode(std::span<const int32_t> ids);
  // As append(), but hands out the logits of every position from first_wanted on, a batch at a time:
  // each(first index, logits [n, n_vocab]).
  void append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each,
                  size_t first_wanted = 0);
  // As decode(), but returns the logits of each id, [n, n_vocab], valid until the next call. Every row has the
  // bits that decode() of one id after the other would give. Error{kLimit} as append().
  MatView<const float> verify(std::span<const int32_t> ids);
  // Of a recurrent model, or in a cache in groups, tokens may have to be computed again for that. Throws as
  // Sequence::truncate() where a key policy dropped some.
  void truncate(size_t n_tokens);
  size_t go_back(size_t n_tokens) { return sequence_->go_back(n_tokens); }
  // From now on only the largest logit of each position must be right (Run::only_best).
  void set_only_best(bool only_best) { only_best_ = only_best; }
  // With `decodes_all` and a plan that learns from prompts: the first n tokens of the sequence are its prompt.
  void set_prompt(size_t n_tokens) { n_prompt_ = n_tokens; }
  // Or has it choose, at its end, which of its keys stay, or reads it in another way than what is decoded.
  bool learns_from_prompts() const {
    return sequence_->learns_from_prompts() || (plan().drops_keys() && plan().keys->keeps_prompts()) || plan().prompts;
  }
  size_t n_tokens() const { return sequence_->n_tokens(); }
  std::span<const int32_t> ids() const { return sequence_->ids(); }  // what was appended
  size_t n_vocab() const { return engine_.config().n_vocab; }
  const Plan& plan() const { return sequence_->plan(); }
  size_t n_ctx() const { return sequence_->n_ctx(); }
  size_t kv_bytes() const;
  // Who generates computes in here.
  Batch& batch() { return batch_; }
  Sequence& sequence() { return *sequence_; }
  const Sequence& sequence() const { return *sequence_; }

  // Throws Error{kInterrupted} when the engine's present call is to stop.
  void throw_if_stopped() const { engine_.compute->throw_if_stopped(); }
  // Who watches the passes, or nullptr.
  void set_observer(Observer* observer) { batch_.transformer().observer = observer; }
  const StepStats& stats() const { return batch_.transformer().stats; }
  void clear_stats() { batch_.transformer().stats = {}; }
  // Transformer::take_stats_of_others()
  std::vector<StepStats> take_stats_of_others() { return batch_.transformer().take_stats_of_others(); }
  static constexpr size_t kBatchTokens = Sequence::kChunkTokens;

 private:
  struct Sized {};  // options whose n_ctx is what there is to be
  Context(const Engine& engine, const ContextOptions& options, Sized);
  MatView<const float> run(std::span<const int32_t> ids, Phase phase, size_t n_logits, bool as_alone = false,
                           size_t n_text = 0);

  const Engine& engine_;
  Batch batch_;
  std::unique_ptr<Sequence> sequence_;
  bool decodes_all_;
  size_t n_prompt_;
  bool only_best_ = false;
};

}  // namespace hunch
