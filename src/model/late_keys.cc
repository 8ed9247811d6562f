// Keys and values that are computed later than their tokens: for a head that a plan leaves out, when a later token
// chooses it (Liu et al. 2023, "Deja Vu", section 4.3). Their code computes all heads of 16 tokens at every sixteenth
// token; here a head that nobody chooses is caught up on its own, each at another number of tokens, so that no token
// waits for all.
#include <algorithm>

#include "linear/together.h"
#include "model/layer.h"
#include "model/model.h"

namespace hunch {
namespace {

// Tokens that a head may be behind after a token's pass. Spread over the heads: those that began to wait together do
// not end together.
size_t most_missing(size_t head, size_t n_heads) {
  constexpr size_t kHalf = KvCache::kMaxDeferred / 2;
  return kHalf + head * (kHalf - 1) / n_heads;
}

// The inputs of tokens [first, first + X.rows), from which their keys and values are computed.
void read_inputs(const KvCache& cache, KvCache::SequenceId sequence, size_t layer, size_t first, MatView<float> X) {
  for (size_t t = 0; t < X.rows; ++t)
    std::ranges::copy(cache.deferred_input(sequence, layer, first + t), X.row(t).begin());
}

}  // namespace

// W_q of the chosen groups for this token, and W_k, W_v of the heads that now get their missing keys and values: those
// chosen, and those that are too far behind. One call, in which each head takes tokens of its own.
void Attention::project_lazily(Step& s, const LayerConfig& c, size_t run, size_t step_token, MatView<const float> x,
                               const Rows& groups, MatView<float> queries) const {
  const Arena::Scope scope(s.compute.arena);
  const KvCache::SequenceId sequence = s.runs()[run].sequence;
  const size_t token = s.position(step_token), width = c.group_width();
  s.cache.defer(sequence, c.index, token, x.row(0));
  const std::span<LateKeys> late_heads = s.compute.arena.take<LateKeys>(c.n_kv_head);
  size_t first = token, n_late = 0, next = 0;
  for (size_t head = 0; head < c.n_kv_head; ++head) {
    const bool is_chosen = groups.is_all() || (next < groups.size() && groups.ids()[next] == head);
    next += is_chosen && !groups.is_all();
    const size_t complete = s.cache.n_complete(sequence, c.index, head);
    if (!is_chosen && token + 1 - complete <= most_missing(head, c.n_kv_head)) continue;
    const size_t n = token + 1 - complete;
    late_heads[n_late++] = {head, complete, s.take(n, c.d_head), s.take(n, c.d_head)};
    first = std::min(first, complete);
  }

  MatView<const float> X = x;
  if (first < token) {
    const MatView<float> inputs = s.take(token + 1 - first, x.cols);
    read_inputs(s.cache, sequence, c.index, first, inputs);
    X = inputs;
  }
  const std::span<TokenTraits> traits = s.compute.arena.take<TokenTraits>(X.rows);
  std::ranges::fill(traits, s.all().traits[step_token]);
  std::vector<PartialProduct>& parts = s.memory.parts;
  parts.clear();
  const std::span<const LateKeys> late = late_heads.first(n_late);
  for (const LateKeys& l : late) {
    parts.push_back({k.get(), l.head * c.d_head, l.first - first, l.k});
    parts.push_back({v.get(), l.head * c.d_head, l.first - first, l.v});
  }
  groups.for_each([&](size_t g) {
    parts.push_back({q.get(), g * width, token - first, queries.col_range(g * width, width)});
  });
  dot_parts(s.compute, traits, X, parts);
  parts.clear();
  for (const LateKeys& l : late) finish_late_keys(s, c, sequence, l);
}

// Before a pass that reads the keys of all heads: computes those that are missing of the tokens before it.
void Attention::complete_keys(Step& s, const LayerConfig& c) const {
  for (size_t r = 0; r < s.runs().size(); ++r) {
    const KvCache::SequenceId sequence = s.runs()[r].sequence;
    size_t first = s.first_position(r);
    for (size_t head = 0; head < c.n_kv_head; ++head)
      first = std::min(first, s.cache.n_complete(sequence, c.index, head));
    const size_t n = s.first_position(r) - first;
    if (n == 0) continue;
    const Arena::Scope scope(s.compute.arena);
    const MatView<float> inputs = s.take(n, c.n_embd), keys = s.take(n, k->n_out), values = s.take(n, v->n_out);
    read_inputs(s.cache, sequence, c.index, first, inputs);
    // As alone: heads that have some of these keys keep the bits that they have.
    const std::span<TokenTraits> traits = s.compute.arena.take<TokenTraits>(n);
    std::ranges::fill(traits, TokenTraits{true, s.runs()[r].adapter});
    const Product kv[] = {{k.get(), keys}, {v.get(), values}};
    dot_together(s.compute, traits, inputs, kv);
    for (size_t head = 0; head < c.n_kv_head; ++head)
      finish_late_keys(
          s, c, sequence,
          {head, first, keys.col_range(head * c.d_head, c.d_head), values.col_range(head * c.d_head, c.d_head)});
  }
}

void Attention::finish_late_keys(Step& s, const LayerConfig& c, KvCache::SequenceId sequence,
                                 const LateKeys& late) const {
  for (size_t i = 0; i < late.k.rows; ++i)
    finish_heads(s.compute, c, late.k.row_range(i, 1), k_norm, late.head, s.rotation_of(c, late.first + i));
  finish_values(s.compute, c, late.v);
  s.cache.store_head(sequence, c.index, late.head, late.first, late.k, late.v);
}

}  // namespace hunch
