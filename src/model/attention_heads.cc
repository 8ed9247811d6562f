// Attention of a few tokens, each restricted to its own groups of heads: only their rows of W_q, their keys and values,
// and their columns of W_o are read (Liu et al. 2023, "Deja Vu", section 4). Keys and values of the new tokens are
// computed for all heads, or, lazily, for those that are chosen.
#include <algorithm>

#include "linear/together.h"
#include "model/layer.h"

namespace hunch {
namespace {

// x, or a copy without the inputs that a token does not have: reading rows by heads spares more than reading by inputs.
MatView<const float> kept(Step& s, const LayerConfig& c, MatView<const float> x, InputPart part) {
  const RowSet inputs = s.rows(c.index, Point::kInputs, s.all(), x, part);
  if (inputs.is_all()) return x;
  const MatView<float> copy = s.take(x.rows, x.cols);
  copy_rows(x, copy);
  for (size_t t = 0; t < x.rows; ++t) keep_only(inputs.own[t], copy.row(t));
  return copy;
}

}  // namespace

void Attention::chosen(Step& s, const LayerConfig& c, MatView<const float> input, RowSet groups,
                       MatView<float> y) const {
  const MatView<const float> x = kept(s, c, input, InputPart::kAttention);
  const Tokens tokens = s.all().traits;
  const size_t width = c.group_width();
  const MatView<float> queries = s.take(x.rows, q->n_out), heads = s.take(x.rows, q->n_out);
  const MatView<float> keys = s.take(x.rows, k->n_out), values = s.take(x.rows, v->n_out);
  const bool lazy = std::ranges::all_of(
      s.runs(), [&](const Run& run) { return run.plan && run.plan->lazy_keys && !key_state(run, c.index); });
  const bool whole_row =
      s.observer || !o->reads_less_by_input(width) || s.asks(c.index, Point::kInputs, s.all(), InputPart::kHeads);
  if (whole_row) fill_rows(0.0f, heads);

  std::vector<PartialProduct>& parts = s.memory.parts;
  parts.clear();
  if (!lazy) {
    complete_keys(s, c);
    if (x.rows > 1) {
      const Product kv[] = {{k.get(), keys}, {v.get(), values}};
      dot_together(s.compute, tokens, x, kv);
      store_keys(s, c, keys, values);
    } else {  // in one loop with the queries
      parts = {{k.get(), 0, 0, keys}, {v.get(), 0, 0, values}};
    }
  }
  for (size_t r = 0, t = 0; r < s.runs().size(); ++r)
    for (size_t i = 0; i < s.runs()[r].n_tokens; ++i, ++t) {
      const Rows& own = groups.own[t];
      if (lazy) {
        project_lazily(s, c, r, t, x.row_range(t, 1), own, queries.row_range(t, 1));
      } else {
        own.for_each([&](size_t g) {
          parts.push_back({q.get(), g * width, 0, queries.row_range(t, 1).col_range(g * width, width)});
        });
        dot_parts(s.compute, tokens.subspan(t, 1), x.row_range(t, 1), parts);
        parts.clear();
        if (x.rows == 1) store_keys(s, c, keys, values);
      }
      attend_chosen(s, c, r, t, own, queries.row_range(t, 1), heads);
    }
  const StageScope output(s.compute, Stage::kOutput);
  const MatView<const float> read = kept(s, c, heads, InputPart::kHeads);
  o->add(s.compute, tokens, read, groups, y);
  if (s.observer) s.observer->on_heads(c.index, heads);
}

void Attention::attend_chosen(Step& s, const LayerConfig& c, size_t run, size_t token, const Rows& groups,
                              MatView<float> queries, MatView<float> heads) const {
  const StageScope stage(s.compute, Stage::kAttention);
  const Rotation rotation = s.rotation(c).row(token);
  groups.for_each([&](size_t g) {
    finish_heads(s.compute, c, queries.col_range(g * c.group_width(), c.group_width()), q_norm, g * c.n_group(),
                 rotation);
  });
  s.temper(c, token, queries);
  AttentionSpan span{s.cache.view(s.runs()[run].sequence, c.index, s.position(token)), 0, 1, s.position(token)};
  span.all_heads = groups.is_all();
  span.kv_heads = groups.ids();
  const AttentionParams own = params(c, false);
  if (s.attend(run, c.index, token, {&span, 1}, queries, c.n_head, own, heads.row_range(token, 1))) return;
  s.limit_keys(run, c.index, {&span, 1});
  s.trace_keys(token, c.index, {&span, 1}, c.window);
  attention(s.compute, queries, c.n_head, {&span, 1}, own, heads.row_range(token, 1));
  s.watch_keys(run, c.index, {&span, 1}, heads.row_range(token, 1));
}

}  // namespace hunch
