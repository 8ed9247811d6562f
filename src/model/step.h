// One pass of the model: which tokens of which sequences, and how each run wants to be computed.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "linear/together.h"
#include "model/observer.h"
#include "model/plan.h"
#include "select/expert_selector.h"
#include "select/key_selector.h"
#include "select/selector_states.h"
#include "state/kv_cache.h"

namespace hunch {

class Model;

// What the tokens of a run are; declared, not guessed from their number.
enum class Phase : uint8_t {
  kPrompt,  // read: every selector is silent (but is shown what it learns from)
  kDecode,  // the newest token of an answer, restricted as the plan says
  kVerify,  // drafted tokens that are checked, restricted likewise
};

// Consecutive new tokens of one sequence.
struct Run {
  KvCache::SequenceId sequence;
  size_t n_tokens;
  Phase phase = Phase::kPrompt;
  const Plan* plan = nullptr;  // none: dense. Of the model's layers; outlives the step
  // Every token gets the bits that a step with it alone would give: what verifies drafts decides as decoding one by one
  // would (docs/speculation.md). Weights are still read once for all tokens; meant for a few.
  bool as_alone = false;
  // Of every row of logits only the largest must be right, as greedy decoding wants it: the others may be the guesses
  // of the plan's screen, none of which exceeds it.
  bool only_best = false;
  // More of this prompt comes: its keys stay until then (Transformer::settle_keys).
  bool goes_on = false;
  const Adapter* adapter = nullptr;
  SelectorStates* states = nullptr;  // of the sequence, where its plans have selectors that remember it
  std::span<const std::shared_ptr<const Plan>> watching = {};  // whose selectors are shown a prompt
};

struct StepInput {
  std::span<const int32_t> ids;          // [n_tokens] all runs one after the other
  std::span<const Run> runs;             // their n_tokens sum to ids.size()
  std::span<const uint32_t> logit_rows;  // tokens whose logits are wanted, strictly increasing
};

// What steps touched.
struct StepStats {
  uint64_t n_tokens = 0, weight_bytes = 0, kv_bytes = 0;
  uint64_t predictor_bytes = 0;  // part of weight_bytes
  RowReads rows;
  // [n_layer], summed over tokens. Active: not zero, and all that a predictor chose. Where inputs are left out instead
  // of neurons (TEAL): the MLP's weights, and those that were multiplied.
  std::vector<uint64_t> active_neurons, all_neurons, active_heads, all_heads;

  StepStats& operator+=(const StepStats& other);
  StepStats operator-(const StepStats& before) const;  // of a later and an earlier state of the same count
};

// Tokens that a block works on: all of the step, or those that were given to an expert.
struct TokenGroup {
  Tokens traits;                     // [n_tokens]
  std::span<const uint32_t> tokens;  // their places in the step; empty: all
  size_t size() const { return traits.size(); }
};

// The state of whoever chooses the keys of a layer; nullptr: all stay. Prompts are no exception: they fill the cache.
KeyState* key_state(const Run& run, size_t layer);

// Lists that steps use one after the other, so that a step allocates only where it is larger than those before.
struct StepMemory {
  struct Answer {
    size_t layer = SIZE_MAX;  // for which the rows were foreseen
    std::vector<Rows> own;
  };
  std::vector<size_t> first_token, first_position;  // [n_runs]
  std::vector<size_t> positions;                    // [n_tokens]
  std::vector<uint32_t> run_of;                     // [n_tokens]
  std::vector<TokenTraits> traits;                  // [n_tokens]
  std::array<Answer, 2 * Plan::kSlots> answers;     // of this layer and the next
  std::vector<float> alibi_slopes;
  std::vector<double> rope_frequencies;
  std::vector<AttentionSpan> spans;
  std::vector<Rows> kept_keys;  // [n_kv_head] slots
  std::vector<PartialProduct> parts;
  Routing routing, own_routing;  // of a mixture: of all tokens, of one run
  RoutingMemory routers;
  Rows shortlist;  // of the vocabulary
  // Rotations of recent positions, by position % KvCache::kMaxDeferred: those whose keys may still be missing.
  std::vector<float> late_rope;
  std::vector<size_t> late_rope_position;
};

// Everything that blocks need to know of the pass. Made anew for each, inside an Arena::Scope.
class Step {
 public:
  // The runs' tokens are in the cache already. What is referred to outlives the step.
  Step(const Model& model, KvCache& cache, Compute& compute, const StepInput& input, Observer* observer,
       StepStats& stats, StepMemory& memory);

  Compute& compute;
  KvCache& cache;
  const StepInput& input;
  Observer* const observer;  // may be none
  StepStats& stats;
  StepMemory& memory;
  const Model& model;
  MatView<float> cos, sin;  // [n_tokens, n_pairs] where the model rotates

  size_t n_tokens() const { return input.ids.size(); }
  std::span<const Run> runs() const { return input.runs; }
  const Run& run(size_t token) const { return input.runs[memory.run_of[token]]; }
  size_t first_token(size_t run) const { return memory.first_token[run]; }
  size_t first_position(size_t run) const { return memory.first_position[run]; }
  size_t position(size_t token) const { return memory.positions[token]; }
  // The same of a model whose positions are a table: of a text that streams, the slot.
  size_t learned_position(size_t token) const { return position(token) - cache.n_moved(run(token).sequence); }
  TokenGroup all() const { return {memory.traits, {}}; }
  bool restricts(const Run& run) const { return run.plan && run.phase != Phase::kPrompt; }

  // A matrix of scratch memory, until the end of the innermost Arena::Scope.
  MatView<float> take(size_t rows, size_t cols) { return {compute.arena.take<float>(rows * cols).data(), rows, cols}; }

  // The stream before a layer's attention, for selectors that look ahead.
  void look(size_t layer, MatView<const float> attention_input);
  // Asks the runs' selectors. `x` [g.size(), n] is the evidence; a token about which nobody speaks keeps what it has
  // in `among`. Valid until the next question about this point.
  RowSet rows(size_t layer, Point point, const TokenGroup& g, MatView<const float> x,
              InputPart part = InputPart::kAttention, RowSet among = {});
  // Whether rows() would ask anyone.
  bool asks(size_t layer, Point point, const TokenGroup& g, InputPart part = InputPart::kAttention) const;
  // Which experts the tokens go to, and with what weight, by expert and token: what the router thinks of them,
  // [n_tokens, n_expert], overwritten, and what the runs' plans make of that. Valid until the next layer
  // (model/step_experts.cc).
  std::span<const Route> route(const LayerConfig& c, MatView<float> logits);
  // What a layer's attention of a run may read of the past, and whether it is to say what it thought of it: `spans` are
  // those of the run. Then what it gave, [the run's n_tokens, n_head * d_head] (model/step_keys.cc).
  void limit_keys(size_t run, size_t layer, std::span<AttentionSpan> spans) const;
  void watch_keys(size_t run, size_t layer, std::span<const AttentionSpan> spans, MatView<const float> heads) const;
  // Shows the MLP's activations to selectors that learn from prompts.
  void watch(size_t layer, const TokenGroup& g, MatView<const float> ff_act);

  void count_neurons(size_t layer, uint64_t active, uint64_t all);
  void count_heads(size_t layer, uint64_t active, uint64_t all);
  // cos and sin, [1, n_pairs] each, of one of the last KvCache::kMaxDeferred positions, as in the step of that token
  // alone.
  std::pair<MatView<const float>, MatView<const float>> rotation_of(size_t position);
  void throw_if_stopped() const { compute.throw_if_stopped(); }

 private:
  using Answer = StepMemory::Answer;
  const PlanEntry* entry_of(const Run& run, size_t layer, Point point, InputPart part) const;
  KeyPlace key_place(const Run& run, size_t layer) const;
  struct Question {
    size_t layer;
    Point point;
    InputPart part;
    Look look;
  };
  RowSet ask(const Question& question, const TokenGroup& g, MatView<const float> x, RowSet among);
  Answer& answer_of(size_t layer, Point point, InputPart part) const {
    return memory.answers[(layer % 2) * Plan::kSlots + Plan::slot(point, part)];
  }
  void rotate();
  size_t place(const TokenGroup& g, size_t i) const { return g.tokens.empty() ? i : g.tokens[i]; }
};

}  // namespace hunch
