// Between attention and whoever chooses the cached tokens.
#include "model/model.h"
#include "model/step.h"

namespace hunch {

KeyState* key_state(const Run& run, size_t layer) {
  if (!run.plan || !run.states) return nullptr;
  const auto& selector = run.plan->at(layer, Point::kKeys).selector;
  return selector ? static_cast<KeyState*>(run.states->of(*selector)) : nullptr;
}

KeyPlace Step::key_place(const Run& run, size_t layer) const {
  return {layer, model.config().n_layer, cache.view(run.sequence, layer)};
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
    span.key_weights = {compute.arena.take<float>(place.view.n_kv_head * most_slots).data(), place.view.n_kv_head,
                        most_slots};
    fill_rows(0.0f, span.key_weights);
  }
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
  for (const AttentionSpan& span : spans.subspan(1)) add_rows(compute, 1.0f, span.key_weights, spans[0].key_weights);
  state->observe(key_place(run, layer), spans[0].key_weights, heads);
}

}  // namespace hunch
