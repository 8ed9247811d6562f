// One pass of the model: which tokens of which sequences, and how each run wants to be computed.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "linear/together.h"
#include "model/observer.h"
#include "model/ops.h"
#include "model/run.h"
#include "model/step_stats.h"
#include "select/expert_selector.h"
#include "select/key_selector.h"
#include "select/prompt_key_lists.h"
#include "select/prompt_neurons.h"
#include "select/selector_states.h"
#include "state/kv_cache.h"

namespace hunch {

class Model;
class RopeTable;

// Tokens that a block works on: all of the step, or those that were given to an expert.
struct TokenGroup {
  Tokens traits;                      // [n_tokens]
  std::span<const uint32_t> tokens;   // their places in the step; empty: all
  uint32_t expert = LinearId::kNone;  // of the layer, whose MLP works on them
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
  std::vector<double> rope_frequencies;
  std::vector<AttentionSpan> spans, spans_together;
  std::vector<Rows> kept_keys;                 // [n_kv_head] slots
  std::vector<std::vector<Rows>> prompt_keys;  // by run: limit_prompt()'s lists
  std::vector<Rows> prompt_neurons;            // [n_tokens] of prompts that compute a part of them
  PromptStatistic prompt_statistic;
  std::vector<PartialProduct> parts;
  std::vector<Rows> nonzero;     // of an MLP whose neurons are known only after the product with up
  Routing routing, own_routing;  // of a mixture: of all tokens, of one run
  RoutingMemory routers;
  std::vector<uint32_t> experts;    // that are about to be read
  Rows guess;                       // neurons that may be
  std::vector<Rows> shortlists;     // of the vocabulary
  std::vector<Rotation> rotations;  // of the tokens, by the model's ropes
  struct Extended {
    Rotation keys, far_queries;
  };
  std::vector<Extended> extended;  // the same of ropes with SelfExtend; else nothing
  // By how much more keys within a window are turned than in the cache: [positions so far, 2 * n_pairs], by rope.
  std::vector<std::vector<float>> near_turns;
  // Rotations of recent positions, by rope and position % KvCache::kMaxDeferred: those whose keys may still be missing.
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
  MatView<const float> per_layer;  // [n_tokens, n_layer * n] where the model has a PerLayerEmbedding

  size_t n_tokens() const { return input.ids.size(); }
  std::span<const Run> runs() const { return input.runs; }
  const Run& run(size_t token) const { return input.runs[memory.run_of[token]]; }
  size_t first_token(size_t run) const { return memory.first_token[run]; }
  size_t first_position(size_t run) const { return memory.first_position[run]; }
  size_t position(size_t token) const { return memory.positions[token]; }
  // The same of a model whose positions are a table: of a text that streams, the slot.
  size_t learned_position(size_t token) const { return position(token) - cache.n_moved(run(token).sequence); }
  // 1 of a token of the second text of a pair, else 0.
  size_t text_of_pair(size_t token) const { return position(token) >= run(token).second_begins; }
  TokenGroup all(uint32_t expert = LinearId::kNone) const { return {memory.traits, {}, expert}; }
  bool restricts(const Run& run) const { return run.plan && run.phase != Phase::kPrompt; }

  // A matrix of scratch memory, until the end of the innermost Arena::Scope.
  MatView<float> take(size_t rows, size_t cols) { return {compute.arena.take<float>(rows * cols).data(), rows, cols}; }

  // The stream before a layer's attention, for selectors that look ahead.
  void look(size_t layer, MatView<const float> attention_input);
  // Asks the runs' selectors. `x` [g.size(), n] is the evidence; a token about which nobody speaks keeps what it has
  // in `among`. Valid until the next question about this point.
  //
  //   n_rows   to choose from; 0: x.cols
  RowSet rows(size_t layer, Point point, const TokenGroup& g, MatView<const float> x,
              InputPart part = InputPart::kAttention, RowSet among = {}, size_t n_rows = 0);
  // Whether rows() would ask anyone.
  bool asks(size_t layer, Point point, const TokenGroup& g, InputPart part = InputPart::kAttention) const;
  // Which experts the tokens go to, and with what weight, by expert and token: what the router thinks of them,
  // [n_tokens, n_expert], overwritten, and what the runs' plans make of that. Valid until the next layer
  // (model/step_experts.cc).
  std::span<const Route> route(size_t layer, const ExpertGateConfig& gate, MatView<float> logits);
  // Begins to read the neurons that the layer's predictor would choose by what the one before it read, where they are
  // read on demand (model/step_reads.cc).
  void read_neurons(size_t layer, MatView<const float> x);
  // Begins to read the experts of these routes, where they are read on demand, and those that the next router would
  // choose by what this one read (model/step_reads.cc).
  void read_experts(size_t layer, std::span<const Route> routes, MatView<const float> router_x);
  // The neurons of each row that are not zero. Valid until the next such question.
  RowSet nonzero(MatView<const float> act);
  // Attention of a run whose selector of keys attends itself, as attention() has it: `token` is the first of its spans.
  // false: nobody does, or not to a prompt (model/step_keys.cc).
  bool attend(size_t run, size_t layer, size_t token, std::span<const AttentionSpan> spans, MatView<const float> Q,
              size_t n_head, const AttentionParams& params, MatView<float> out) const;
  // Shows the runs' last queries, [n_tokens, n_head * d_head], to selectors of keys that want them.
  void show_queries(size_t layer, MatView<const float> Q, size_t n_head, const AttentionParams& params) const;
  // What a layer's attention of a run may read of the past, and whether it is to say what it thought of it: `spans` are
  // those of the run. Then what it gave, [the run's n_tokens, n_head * d_head] (model/step_keys.cc).
  void limit_keys(size_t run, size_t layer, std::span<AttentionSpan> spans) const;
  void watch_keys(size_t run, size_t layer, std::span<const AttentionSpan> spans, MatView<const float> heads) const;
  // Whether queries of this run, a prompt, read a part of the layer's keys only; and what they do read: `spans` are the
  // run's, a block of queries each, Q all queries of the step (model/step_keys.cc).
  bool limits_prompt(size_t run, const LayerConfig& c) const;
  void limit_prompt(size_t run, const LayerConfig& c, std::span<AttentionSpan> spans, MatView<const float> Q,
                    const AttentionParams& params) const;
  // Whether prompts among these tokens compute a part of the layer's neurons, and with(first token, how many, share)
  // for each block of such a prompt that is long enough.
  bool thins_prompt(size_t layer, const TokenGroup& g) const;
  template <class With>
  void for_each_prompt_block(size_t layer, const With& with) const {
    constexpr size_t kBlock = PromptNeurons::kBlock;
    for (size_t r = 0; r < runs().size(); ++r) {
      const double share = prompt_share(runs()[r], layer);
      for (size_t t = 0, n = 0; share < 1 && t < runs()[r].n_tokens; t += n) {
        n = std::min(runs()[r].n_tokens - t, kBlock - (first_position(r) + t) % kBlock);
        if (n >= PromptNeurons::kLeast) with(first_token(r) + t, n, share);
      }
    }
  }
  // The memory that this run's attention of the layer looks into, or nullptr; room for AttentionSpan::stats of spans
  // that do; and then what it finds there, mixed into what attention gave: Q and out of all queries of the step
  // (model/step_memory.cc).
  const MemoryReader* memory_of(size_t run, size_t layer) const;
  void give_stats(const LayerConfig& c, std::span<AttentionSpan> spans);
  void recall(size_t run, const LayerConfig& c, std::span<const AttentionSpan> spans, MatView<const float> Q,
              MatView<float> out);
  // Shows an MLP's activations to selectors that learn from prompts.
  void watch(size_t layer, const TokenGroup& g, MatView<const float> ff_act);

  void count_neurons(size_t layer, uint64_t active, uint64_t all);
  void count_heads(size_t layer, uint64_t active, uint64_t all);
  // Where the token's use of the layer is noted; nullptr: nobody wants to know.
  LayerUse* traced(size_t token, size_t layer) const {
    if (!is_traced_) return nullptr;
    RunTrace* const trace = run(token).trace;
    return trace ? trace->at(token - first_token(memory.run_of[token]), layer) : nullptr;
  }
  // each(place in the group, its use), of the group's tokens that are traced.
  template <class Each>
  void for_each_traced(const TokenGroup& g, size_t layer, const Each& each) const {
    for (size_t i = 0; is_traced_ && i < g.size(); ++i)
      if (LayerUse* use = traced(place(g, i), layer)) each(i, *use);
  }
  // What queries saw of the cache: those of these spans of one run, from this token on.
  void trace_keys(size_t token, size_t layer, std::span<const AttentionSpan> spans, size_t window) const;
  // Of the step's tokens; and of one of the last KvCache::kMaxDeferred positions, as in the step of that token alone.
  Rotation rotation(const LayerConfig& c) const { return c.rotates ? memory.rotations[c.rope] : Rotation(); }
  // What the cache's keys are turned by, which is the same but in a layer with SelfExtend; by what the queries of such
  // a layer are that look beyond its window, and by what its keys at positions first, ..., first + n - 1 are turned on
  // within it.
  Rotation key_rotation(const LayerConfig& c) const {
    return c.extend.on() ? memory.extended[c.rope].keys : rotation(c);
  }
  Rotation far_rotation(const LayerConfig& c) const { return memory.extended[c.rope].far_queries; }
  Rotation near_turns(const LayerConfig& c, size_t first, size_t n);
  Rotation rotation_of(const LayerConfig& c, size_t position);
  // Multiplies the queries of token `first` and those after it by their temperatures, where the layer has any.
  void temper(const LayerConfig& c, size_t first, MatView<float> queries) const;
  // Of a model that is divided: where rank 0 is to stop, all do.
  void throw_if_stopped() const;
  // x [n_tokens, n], of which every rank has a part of the sum: it becomes that sum.
  void sum_over_ranks(MatView<float> x) const { begin_sum(x), finish_sum(); }
  // The same in two parts: meanwhile nobody touches x, and nothing else is said to ranks.
  void begin_sum(MatView<float> x) const;
  void finish_sum() const;

 private:
  using Answer = StepMemory::Answer;
  // model/step_reads.cc: of a model that is larger than memory, what a predictor has foreseen is read while attention
  // is computed.
  void read_ahead(size_t layer) const;
  // Of the layer's neurons, what a prompt's tokens compute; 1 of a run that is none.
  double prompt_share(const Run& run, size_t layer) const {
    return run.phase == Phase::kPrompt && run.plan && run.plan->prompts ? run.plan->prompts->neurons(layer) : 1;
  }
  const PlanEntry* entry_of(const Run& run, size_t layer, Point point, InputPart part) const;
  KeyPlace key_place(const Run& run, size_t layer) const;
  struct Question {
    size_t layer;
    Point point;
    InputPart part;
    Look look;
    size_t n_rows;  // to choose from
  };
  RowSet ask(const Question& question, const TokenGroup& g, MatView<const float> x, RowSet among);
  Answer& answer_of(size_t layer, Point point, InputPart part) const {
    return memory.answers[(layer % 2) * Plan::kSlots + Plan::slot(point, part)];
  }
  Rotation rotate(const RopeTable& rope);
  template <class PositionOf>
  Rotation rotate_to(const RopeTable& rope, const PositionOf& position_of);
  size_t place(const TokenGroup& g, size_t i) const { return g.tokens.empty() ? i : g.tokens[i]; }

  bool is_traced_ = false;  // some run is
};

}  // namespace hunch
