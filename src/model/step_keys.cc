// Between attention and whoever chooses the cached tokens.
#include <algorithm>

#include "model/model.h"
#include "model/rope_table.h"
#include "model/step.h"

namespace hunch {
namespace {

// Of a text of so many tokens.
class LayerTurns final : public KeyTurns {
 public:
  LayerTurns(const Model& model, size_t layer, size_t n_text) : c_(model.config().layers[layer]) {
    if (model.config().position == PositionKind::kRope && c_.rotates) rope_ = &model.rope(c_);
    if (rope_) frequencies_ = rope_->frequencies(n_text, own_);
  }
  size_t n_pairs() const override { return rope_ ? rope_->n_pairs() : 0; }
  bool interleaved() const override { return c_.rope_interleaved; }
  void at(size_t position, std::span<float> cos, std::span<float> sin) const override {
    rope_->at(position, frequencies_, cos, sin);
  }

 private:
  const LayerConfig& c_;
  const RopeTable* rope_ = nullptr;
  std::vector<double> own_;
  RopeTable::Frequencies frequencies_{{}, 1};
};

}  // namespace

KeyState* key_state(const Run& run, size_t layer) {
  if (!run.plan || !run.states) return nullptr;
  const auto& selector = run.plan->at(layer, Point::kKeys).selector;
  return selector ? static_cast<KeyState*>(run.states->of(*selector)) : nullptr;
}

KeyPlace Step::key_place(const Run& run, size_t layer) const {
  return {layer, model.config().n_layer, cache.view(run.sequence, layer)};
}

bool Step::attend(size_t r, size_t layer, size_t token, std::span<const AttentionSpan> spans, MatView<const float> Q,
                  size_t n_head, const AttentionParams& params, MatView<float> out) const {
  const Run& run = runs()[r];
  if (!run.plan || !run.plan->keys || !run.plan->keys->attends()) return false;
  if (!restricts(run) && !run.plan->keys->attends_prompts()) return false;
  KeyState* const state = key_state(run, layer);
  if (!state) return false;
  for (const AttentionSpan& span : spans) {
    const Arena::Scope scope(compute.arena);
    const std::span<PageReads> reads = compute.arena.take<PageReads>(span.n_tokens);
    std::ranges::fill(reads, PageReads());
    state->attend_all(compute, {layer, model.config().n_layer, span.kv}, span, Q, n_head, params, out, reads);
    for (size_t i = 0; i < span.n_tokens; ++i, ++token) {
      stats.pages += reads[i];
      const AttentionSpan query = part_of(span, i, 1);
      if (reads[i].n_keys == 0) {
        trace_keys(token, layer, {&query, 1}, params.window);
      } else if (LayerUse* use = traced(token, layer)) {
        use->keys.used += reads[i].n_keys;
        use->keys.of += (reads[i].n_choices ? reads[i].n_choices : query.n_kv_heads()) * (query.first_pos + 1);
      }
    }
  }
  return true;
}

void Step::show_queries(size_t layer, MatView<const float> Q, size_t n_head, const AttentionParams& params) const {
  for (size_t r = 0; r < runs().size(); ++r) {
    KeyState* const state = key_state(runs()[r], layer);
    if (!state || state->n_queries() == 0) continue;
    const Run& run = runs()[r];
    const size_t n = std::min(state->n_queries(), run.n_tokens), n_before = run.n_tokens - n;
    const LayerTurns turns(model, layer, std::max(first_position(r) + run.n_tokens, run.n_text));
    state->see(key_place(run, layer), {Q.row_range(first_token(r) + n_before, n), n_head, first_position(r) + n_before,
                                       params, run.phase == Phase::kPrompt, turns.n_pairs() ? &turns : nullptr});
  }
}

void Step::limit_keys(size_t r, size_t layer, std::span<AttentionSpan> spans) const {
  const Run& run = runs()[r];
  KeyState* state = key_state(run, layer);
  if (!state) return;
  const KeyPlace place = key_place(run, layer);
  const bool is_decoding = run.phase == Phase::kDecode && run.n_tokens == 1;
  const std::span<const Rows> readable = is_decoding ? state->readable(place) : std::span<const Rows>();
  size_t most_slots = 0, n_readable = 0;
  for (size_t head = 0; head < place.view.n_kv_head; ++head) {
    most_slots = std::max(most_slots, place.view.n_slots(head));
    n_readable = std::max(n_readable, readable.empty() ? place.view.n_slots(head) : readable[head].size());
  }
  size_t n_left = run.n_tokens;  // tokens of this span and those after it
  for (AttentionSpan& span : spans) {
    span.keys = readable;
    if (is_decoding) span.n_values = state->n_values(place, n_readable);
    n_left -= span.n_tokens;
    span.n_weighing = state->n_watched() - std::min(state->n_watched(), n_left);
    if (!state->learns()) continue;
    span.weights_are_largest = state->wants_largest();
    span.key_weights = {compute.arena.take<float>(place.view.n_kv_head * most_slots).data(), place.view.n_kv_head,
                        most_slots};
    fill_rows(0.0f, span.key_weights);
  }
}

bool Step::limits_prompt(size_t r, const LayerConfig& c) const {
  const Run& run = runs()[r];
  return run.phase == Phase::kPrompt && run.plan && run.plan->prompts && c.causal && c.window == 0 && !c.extend.on() &&
         !c.relative.on && run.plan->prompts->restricts(c.index, c.n_kv_head, first_position(r) + run.n_tokens) &&
         cache.view(run.sequence, c.keys_from).positions.empty();
}

bool Step::thins_prompt(size_t layer, const TokenGroup& g) const {
  return g.tokens.empty() && g.expert == LinearId::kNone &&
         std::ranges::any_of(runs(), [&](const Run& run) { return prompt_share(run, layer) < 1; });
}

void Step::limit_prompt(size_t r, const LayerConfig& c, std::span<AttentionSpan> spans, MatView<const float> Q,
                        const AttentionParams& params) const {
  const Run& run = runs()[r];
  memory.prompt_keys.resize(std::max(memory.prompt_keys.size(), runs().size()));
  hunch::limit_prompt(compute, *run.plan->prompts,
                      {c.index, Q.row_range(first_token(r), run.n_tokens), c.n_head, first_position(r), params,
                       cache.view(run.sequence, c.keys_from)},
                      spans, memory.prompt_keys[r]);
}

void Step::trace_keys(size_t token, size_t layer, std::span<const AttentionSpan> spans, size_t window) const {
  if (!run(token).trace) return;
  for (const AttentionSpan& span : spans)
    for (size_t i = 0; i < span.n_tokens; ++i, ++token) {
      LayerUse* use = traced(token, layer);
      if (!use) continue;
      AttentionSpan one = span;
      one.n_tokens = 1;
      one.first_pos = span.first_pos + i;
      use->keys.used += n_keys_seen(one, window);
      use->keys.of += one.n_kv_heads() * (one.first_pos + 1);
    }
}

void Step::watch_keys(size_t r, size_t layer, std::span<const AttentionSpan> spans, MatView<const float> heads) const {
  const Run& run = runs()[r];
  KeyState* state = key_state(run, layer);
  if (!state || !state->learns()) return;
  for (const AttentionSpan& span : spans.subspan(1))
    if (state->wants_largest()) {
      for (size_t head = 0; head < span.key_weights.rows; ++head)
        std::ranges::transform(span.key_weights.row(head), spans[0].key_weights.row(head),
                               spans[0].key_weights.row(head).begin(), [](float a, float b) { return std::max(a, b); });
    } else {
      add_rows(compute, 1.0f, span.key_weights, spans[0].key_weights);
    }
  state->observe(key_place(run, layer), spans[0].key_weights, heads);
}

}  // namespace hunch
