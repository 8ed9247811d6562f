// A text in a KV cache: its tokens, what selectors remember of it, and how it is computed.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/transformer.h"

namespace hunch {

struct SequenceOptions {
  std::shared_ptr<const Plan> plan;             // none: dense
  std::shared_ptr<const Adapter> adapter = {};  // none: the model as it is
  size_t n_ctx = 0;                             // most tokens; 0: resolve_context()'s choice. Where the plan's keys
                                                // stream, most that the cache holds: the text may be longer
  // Two-pass oracle (Liu et al. 2023, section 3.1): each token is first computed densely, then again
  // with only this share of the neurons, and of the heads, those with the largest output norms. 1 = off.
  double oracle_density = 1.0, oracle_head_density = 1.0;
  bool has_oracle() const { return oracle_density < 1 || oracle_head_density < 1; }
};

// Without --ctx, long-context models do not reserve their whole context.
constexpr size_t kDefaultMaxContext = 4096;

// Whether positions are looked up in a table, which ends.
bool has_position_table(const ModelConfig& config);

// The context that would be used: checks `n_ctx` against the model. Beyond the trained context a
// learned table throws Error{kLimit}; RoPE and ALiBi go on (the caller warns).
size_t resolve_context(const ModelConfig& config, size_t n_ctx);

// The way out for a text of so many tokens that does not fit: the context that it needs, or that the model has no such.
std::string room_for(const ModelConfig& config, size_t n_tokens);

// Makes the copies of weights that the plan's selectors gather from: before steps that use it. Throws Error{kMemory}.
void prepare_layouts(const Engine& engine, const Plan& plan);

// Belongs to one caller at a time. Its pages return to the cache with it.
class Sequence {
 public:
  // Empty. The engine outlives it. Throws Error{kMemory} where the plan needs copies of weights that do not fit,
  // Error{kUsage | kUnsupported} for an oracle that cannot be, Error{kLimit} as resolve_context().
  Sequence(const Engine& engine, std::shared_ptr<KvCache> cache, const SequenceOptions& options);
  // The text of `host`, computed another way: what one extends or truncates, the other sees. It is as long as the host
  // may be. Throws Error{kUsage} where the host's adapter has virtual tokens and this one's not the same.
  Sequence(const Sequence& host, const SequenceOptions& options);
  // Another text that begins with the first n_tokens of this one, to which it can go back; they share the pages that
  // hold them until one of them writes there. With a plan that remembers nothing of the text but what its keys do;
  // where these dropped some, not to fewer tokens than there were then. Throws Error{kLimit} where the cache has no
  // room.
  std::unique_ptr<Sequence> fork(size_t n_tokens) const;
  // The text `ids`, whose keys KvCache::save() gave, in place of none; of recurrent models as much of it as their last
  // state knows.
  void restore(std::span<const int32_t> ids, std::span<const std::byte> keys);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  size_t n_tokens() const { return text_->ids.size(); }
  size_t n_ctx() const { return n_ctx_; }  // without the adapter's virtual tokens, which take their share
  // Tokens that may still come; of a text that streams, no end.
  size_t n_left() const;
  // Tokens that a head holds at most: all, but for plans whose keys drop some.
  size_t n_cached() const { return text_->cache->most_slots(id()); }
  // The most that it holds while n more are computed.
  size_t most_cached(size_t n_more) const;
  // Where the answer depends on what of a prompt is computed together, so many tokens are, counted from where the
  // prompt began, whoever shares the steps: keys are dropped after them, a router looks at them, RoPE's frequencies are
  // those of the text's length by then. kChunkTokens, or what fits beside the text where that is less; 0: it does not
  // depend.
  size_t chunk_tokens() const;
  static constexpr size_t kChunkTokens = 512;
  // How many of a prompt's n_unread tokens are computed next: up to the next cut; where it may be cut anywhere, at most
  // `most`.
  size_t n_together(size_t n_unread, size_t most) const;
  std::span<const int32_t> ids() const { return text_->ids; }
  KvCache& cache() const { return *text_->cache; }
  const std::shared_ptr<KvCache>& shared_cache() const { return text_->cache; }
  KvCache::SequenceId id() const { return text_->id; }
  const Plan& plan() const { return *plan_; }
  const std::shared_ptr<const Adapter>& adapter() const { return adapter_; }
  // Whether the plan learns from prompts (GRIFFIN).
  bool learns_from_prompts() const;
  // Throws Error{kLimit} where n more tokens are more than n_ctx.
  void require_room(size_t n_tokens) const;
  // Throws Error{kUnsupported} where the plan's keys dropped some that would come back, or a recurrent layer has no
  // state from there, unless all are forgotten.
  void truncate(size_t n_tokens);
  // The same, but more is forgotten where some would have to come back. Returns the tokens that are left: n or fewer.
  size_t go_back(size_t n_tokens);
  // The most tokens that a step may draft: those after them can be taken back.
  size_t most_drafted() const { return text_->cache->is_recurrent() ? RecurrentStates::kKept - 1 : SIZE_MAX; }
  // Makes the present length one that a recurrent model can go back to later, at the price of a copy of its states.
  void checkpoint();

  // Before it is computed as the beginning of a text of n_text tokens: what it holds is computed anew, as a prompt,
  // where its keys are those of a text of another length (RopeTable::turns_anew_beyond()). Throws Error{kInterrupted},
  // which leaves fewer tokens.
  void renew(Transformer& transformer, size_t n_text);
  // How many more tokens it may get without that; none where the next one is the first beyond it.
  size_t n_until_renewal() const;
  // A batch computes these ids next: the run that a step needs to know, which refers to this. Copies of weights are
  // packed that the prompt settled on, and an oracle takes its first pass.
  Run prepare(Transformer& transformer, std::span<const int32_t> ids, Phase phase);
  // They are in the cache.
  void extend(std::span<const int32_t> ids, Phase phase);
  // The prompt has ended: its keys that the plan drops go, where they wait for more of it. prepare() of what is no
  // prompt does so too.
  void settle_keys(Transformer& transformer);
  // Copies together what a prompt chose for the rest of the sequence, where that is new.
  void pack_settled();

 private:
  Sequence(const Engine& engine, std::shared_ptr<KvCache> cache, KvCache::SequenceId id,
           const SequenceOptions& options);
  struct Text {
    Text(std::shared_ptr<KvCache> cache, KvCache::SequenceId id) : cache(std::move(cache)), id(id) {}
    ~Text() { cache->release(id); }
    std::shared_ptr<KvCache> cache;
    KvCache::SequenceId id;
    std::vector<int32_t> ids = {};
    size_t prompt_begin = 0;  // where the tokens at the end that were read, not decoded, begin
    bool keys_wait = false;   // after some of a chunk
    size_t keys_of = 0;       // tokens of the text as which its keys were computed
    size_t n_virtual = 0;     // of the adapter's, in the cache before the text
    std::shared_ptr<const Adapter> begins_with = nullptr;  // whose these are
    std::vector<std::shared_ptr<const Plan>> plans = {};   // that it was ever computed with
    SelectorStates states = {};                            // of the selectors of these
  };
  void begin(const SequenceOptions& options, bool is_guest);
  void begin_with_virtual_tokens(bool is_guest);
  size_t n_in_cache() const { return n_tokens() + text_->n_virtual; }
  void reread(Transformer& transformer);
  void take_oracle_pass(Transformer& transformer, std::span<const int32_t> ids, Run& run);

  const Engine& engine_;
  std::shared_ptr<Text> text_;
  size_t n_ctx_;
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<const Adapter> adapter_;
  uint64_t packed_name_ = 0;  // of the copies that were made for this sequence
  std::unique_ptr<class OracleRecorder> oracle_;
};

}  // namespace hunch
