// After a pass: what the selectors of keys do not keep leaves the cache.
#include <algorithm>

#include "base/error.h"
#include "model/ops.h"
#include "model/ranks.h"
#include "model/transformer.h"

namespace hunch {

void Transformer::settle_keys(std::span<const Run> runs) {
  if (Ranks* const ranks = model_.ranks(); ranks && ranks->leads())
    for (const Run& run : runs)
      if (run.plan && run.plan->drops_keys() && !run.goes_on) ranks->settle(model_, cache_, run);
  settle_own_keys(runs);
}

void Transformer::settle_own_keys(std::span<const Run> runs) {
  for (const Run& run : runs) {
    if (!run.plan || !run.plan->drops_keys() || run.goes_on) continue;
    HUNCH_CHECK(run.phase != Phase::kVerify, "some of these tokens may yet be taken back");
    for (size_t layer = 0; layer < model_.config().n_layer; ++layer)
      if (KeyState* state = model_.config().layers[layer].elsewhere ? nullptr : key_state(run, layer))
        settle_keys(run.sequence, layer, *state);
  }
}

void Transformer::settle_keys(KvCache::SequenceId sequence, size_t layer, KeyState& state) {
  const KvView view = cache_.view(sequence, layer);
  std::vector<Rows>& kept = memory_.kept_keys;
  kept.resize(view.n_kv_head);
  state.decide(compute_, {layer, model_.config().n_layer, view});
  state.keep({layer, model_.config().n_layer, view}, kept);
  if (std::ranges::all_of(kept, &Rows::is_all)) return;
  cache_.keep(sequence, layer, kept);
  if (state.n_sinks() > 0) move_sinks(sequence, layer, state);
}

// Relative positions are all that RoPE and ALiBi see: that every slot's is its number is had by moving the few slots
// before the gap to where the gap ends (Xiao et al. 2023, section 3.2). Each is rotated from its first key, so that no
// rounding adds up.
void Transformer::move_sinks(KvCache::SequenceId sequence, size_t layer, KeyState& state) {
  const Arena::Scope scope(compute_.arena);
  const LayerConfig& c = model_.weights().layers[layer].config;
  const size_t n = state.n_sinks(), n_tokens = cache_.n_tokens(sequence);
  const size_t shift = n_tokens - cache_.n_slots(sequence, layer, 0);  // the sinks are the first tokens of the text
  for (size_t head = 0; c.rotates && head < c.n_kv_head; ++head) {
    std::vector<float>& first = state.sink_keys(layer, head);
    if (first.empty()) {
      first.resize(n * c.d_head);
      cache_.load_keys(sequence, layer, head, 0, {first.data(), n, c.d_head});
    }
    const RopeTable& rope = model_.rope(c);
    const std::span<float> turn = compute_.arena.take<float>(2 * rope.n_pairs());
    const std::span<float> cos = turn.first(rope.n_pairs()), sin = turn.subspan(rope.n_pairs());
    rope.turn(shift, rope.frequencies(n_tokens - shift, memory_.rope_frequencies).of, cos, sin);
    const MatView<float> keys(compute_.arena.take<float>(n * c.d_head).data(), n, c.d_head);
    copy_rows({first.data(), n, c.d_head}, keys);
    for (size_t i = 0; i < n; ++i) hunch::rope(keys.row(i), cos, sin, c.rope_interleaved);
    cache_.replace_keys(sequence, layer, head, 0, keys);
  }
  cache_.move_leading(sequence, layer, n, shift);
}

}  // namespace hunch
