// Attention with all heads, or with those outputs left out that a token does not want.
#include <algorithm>

#include "linear/project.h"
#include "model/layer.h"
#include "model/model.h"
#include "model/self_extend.h"

namespace hunch {
namespace {

bool each_alone(const Step& s) {
  return std::ranges::all_of(s.runs(), [](const Run& run) { return run.as_alone; });
}

// Whether some run's attention is more than each token's own heads over its own keys.
bool needs_whole(const Step& s, const LayerConfig& c) {
  for (size_t r = 0; r < s.runs().size(); ++r)
    if (s.limits_prompt(r, c) || s.memory_of(r, c.index)) return true;
  return false;
}

// with(position, n) of all spans of a run: tokens that read alike.
template <class With>
void for_each_span(const Step& s, const LayerConfig& c, size_t r, const With& with) {
  constexpr size_t kBlock = PromptPattern::kQueryBlock;
  const Run& run = s.runs()[r];
  const bool in_blocks = s.limits_prompt(r, c);
  for (size_t t = 0, n = 0; t < run.n_tokens; t += n) {
    const size_t position = s.first_position(r) + t;
    n = run.as_alone ? 1 : s.cache.n_alike(position, run.n_tokens - t);
    if (in_blocks) n = std::min(n, kBlock - position % kBlock);
    with(position, n);
  }
}

// with(run, its spans).
template <class With>
void for_each_run(const Step& s, const LayerConfig& c, const With& with) {
  size_t first = 0;
  for (size_t r = 0; r < s.runs().size(); ++r) {
    size_t n = 0;
    for_each_span(s, c, r, [&](size_t, size_t) { ++n; });
    with(r, std::span(s.memory.spans).subspan(first, n));
    first += n;
  }
}

// As the products that surround it are computed (kernels/gemm_tiles.h).
AttentionTiles tiles_of(const Linear& output) {
  const WeightView W = output.rows().data ? output.rows() : output.by_input();
  if (W.data && W.dtype == DType::kF32) return AttentionTiles::kNever;
  return W.data && is_plain(W.dtype) ? AttentionTiles::kBothParts : AttentionTiles::kMixRounded;
}

}  // namespace

void Attention::operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope stage(s.compute, Stage::kQkv);
  if (!c.mixer_in_parts) s.look(c.index, x);  // else while what the parts give is added up
  if (s.observer) s.observer->on_attention_input(c.index, x);
  RowSet groups = s.rows(c.index, Point::kHeads, s.all(), x, {}, {}, c.n_kv_head);
  const size_t n_q = c.n_head * c.d_head;
  if (!groups.own.empty()) groups.unit = n_q / groups.own[0].n_total();  // groups, or single heads
  s.count_heads(c.index, groups.count(x.rows, n_q) / c.d_head, x.rows * c.n_head);
  s.for_each_traced(s.all(), c.index, [&](size_t t, LayerUse& use) {
    use.heads = {(groups.own.empty() ? groups : groups.subset(t, 1)).count(1, n_q) / c.d_head, c.n_head};
  });
  // Each token's own heads, or the dense products for all, and the outputs of heads that a token leaves out are zeros.
  if (groups.unit == c.group_width() && !c.extend.on() && !needs_whole(s, c) &&
      (each_alone(s) || s.model.layouts().own_is_faster(s.compute, q->factor(Axis::kOut), groups)))
    return chosen(s, c, x, groups, y);
  whole(s, c, x, groups, y);
}

AttentionParams Attention::params(const LayerConfig& c, bool spans_as_alone) const {
  return {c.attn_scale, c.attn_soft_cap, c.window, c.alibi_slopes, sinks, spans_as_alone, c.causal, tiles_of(*o)};
}

void Attention::whole(Step& s, const LayerConfig& c, MatView<const float> x, RowSet groups, MatView<float> y) const {
  if (!c.borrows_keys()) complete_keys(s, c);
  const Tokens tokens = s.all().traits;
  const size_t n_q = c.n_head * c.d_head, n_kv = c.borrows_keys() ? 0 : c.n_kv_head * c.d_head;
  const MatView<float> queries = s.take(x.rows, n_q), keys = s.take(x.rows, n_kv);
  const MatView<float> values = c.latent.rank > 0 ? keys : s.take(x.rows, n_kv);  // of which the latents count
  MatView<float> heads = s.take(x.rows, n_q), gates;
  if (c.latent.rank > 0) {
    project_latent(s, c, x, queries, keys);
  } else {
    const MatView<float> both = c.output_gate ? s.take(x.rows, 2 * n_q) : queries;
    const Product qkv[] = {{q.get(), both}, {k.get(), keys}, {v.get(), values}};
    const size_t n_own = c.borrows_keys() ? 1 : c.keys_as_values ? 2 : 3;
    project(s.compute, tokens, x, s.rows(c.index, Point::kInputs, s.all(), x, InputPart::kAttention),
            std::span(qkv).first(n_own));
    if (c.keys_as_values) copy_rows(keys, values);
    if (c.output_gate) {
      gates = s.take(x.rows, n_q);
      split_heads(both, c.d_head, queries, gates);
    }
  }
  MatView<float> far;  // the same queries, as those look that see beyond SelfExtend's window
  {
    const StageScope positions(s.compute, Stage::kKeys);
    if (c.extend.on()) {
      far = s.take(queries.rows, queries.cols);
      copy_rows(queries, far);
      finish_heads(s.compute, c, far, q_norm, 0, s.far_rotation(c));
      s.temper(c, 0, far);
    }
    finish_heads(s.compute, c, queries, q_norm, 0, s.rotation(c));
    s.temper(c, 0, queries);
  }
  if (!c.borrows_keys()) store_keys(s, c, keys, values);
  if (s.observer) s.observer->on_attention(c.index, queries, c.borrows_keys() ? borrowed_keys(s, c) : keys, values);

  const StageScope attention_stage(s.compute, Stage::kAttention);
  std::vector<AttentionSpan>& spans = s.memory.spans;
  spans.clear();
  for (size_t r = 0; r < s.runs().size(); ++r)
    for_each_span(s, c, r, [&](size_t position, size_t n) {
      spans.push_back({s.cache.view(s.runs()[r].sequence, c.keys_from, position),
                       s.first_token(r) + position - s.first_position(r), n, position});
    });
  const AttentionParams all = params(c, std::ranges::any_of(s.runs(), &Run::as_alone));
  s.show_queries(c.index, queries, c.n_head, all);
  std::vector<AttentionSpan>& together = s.memory.spans_together;
  together.clear();
  for_each_run(s, c, [&](size_t r, std::span<AttentionSpan> own) {
    if (far.data) {
      for (const AttentionSpan& span : own) {
        const size_t first = c.extend.first_near(span.first_pos);
        attend_self_extended(s.compute, c.extend, span, queries, far, c.n_head,
                             s.near_turns(c, first, span.first_pos + span.n_tokens - first), c.rope_interleaved, all,
                             heads);
      }
      return s.trace_keys(s.first_token(r), c.index, own, 0);
    }
    if (c.relative.on) {
      attend_relative(s, c, queries, own, heads);
      return s.trace_keys(s.first_token(r), c.index, own, c.relative.memory + c.relative.segment);
    }
    if (s.attend(r, c.index, s.first_token(r), own, queries, c.n_head, all, heads)) return;
    s.limit_keys(r, c.index, own);
    if (s.limits_prompt(r, c)) s.limit_prompt(r, c, own, queries, all);
    if (s.memory_of(r, c.index)) s.give_stats(c, own);
    s.trace_keys(s.first_token(r), c.index, own, c.window);
    together.insert(together.end(), own.begin(), own.end());
  });
  attention(s.compute, queries, c.n_head, together, all, heads);
  for_each_run(s, c, [&](size_t r, std::span<const AttentionSpan> own) {
    if (s.memory_of(r, c.index)) s.recall(r, c, own, queries, heads);
    s.watch_keys(r, c.index, own, heads.row_range(s.first_token(r), s.runs()[r].n_tokens));
  });
  if (!c.lends_keys && !c.borrows_keys())
    for (const Run& run : s.runs()) s.cache.settle(run.sequence, c.index);
  if (c.latent.rank > 0) heads = values_of_latents(s, c, heads);
  if (c.output_gate) multiply_by_sigmoid(s.compute, gates, heads);
  if (!sub_norm.empty()) norm_rows(s.compute, c, heads, sub_norm, heads);
  if (s.observer) s.observer->on_heads(c.index, heads);
  for (size_t t = 0; t < groups.own.size(); ++t) keep_only(groups.own[t], heads.row(t), groups.unit);
  const StageScope output(s.compute, Stage::kOutput);
  const Product out[] = {{o.get(), y}};
  project(s.compute, tokens, heads, s.rows(c.index, Point::kInputs, s.all(), heads, InputPart::kHeads), out);
}

// The new tokens' keys as the cache has them, for who watches a layer that reads another's.
MatView<const float> Attention::borrowed_keys(Step& s, const LayerConfig& c) const {
  const MatView<float> keys = s.take(s.n_tokens(), c.n_kv_head * c.d_head);
  for (size_t r = 0; r < s.runs().size(); ++r) {
    const KvCache::SequenceId sequence = s.runs()[r].sequence;
    const MatView<float> own = keys.row_range(s.first_token(r), s.runs()[r].n_tokens);
    for (size_t head = 0; head < c.n_kv_head; ++head)
      s.cache.load_keys(sequence, c.keys_from, head, s.cache.n_slots(sequence, c.keys_from, head) - own.rows,
                        own.col_range(head * c.d_head, c.d_head));
  }
  return keys;
}

// Makes the new tokens' products of W_k and W_v what attention reads, and caches them.
void Attention::store_keys(Step& s, const LayerConfig& c, MatView<float> keys, MatView<float> values) const {
  const StageScope stage(s.compute, Stage::kKeys);
  finish_heads(s.compute, c, keys, k_norm, 0, s.key_rotation(c));
  finish_values(s.compute, c, values);
  for (size_t r = 0; r < s.runs().size(); ++r) {
    const Run& run = s.runs()[r];
    s.cache.store(run.sequence, c.index, s.first_position(r), keys.row_range(s.first_token(r), run.n_tokens),
                  values.row_range(s.first_token(r), run.n_tokens));
  }
}

}  // namespace hunch
