// The attention half of a layer: of all heads, and of the groups of heads that a predictor chose.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/attention.h"
#include "kernels/column_blocks.h"
#include "kernels/ops.h"
#include "model/forward.h"
#include "select/threshold.h"

namespace hunch {
namespace {

// Up to this many tokens, each token's own heads are computed; more share the dense products, and the outputs of heads
// that a token leaves out become zeros.
constexpr size_t kMaxSelectingTokens = 4;

template <class With>
void for_each(const Rows& chosen, const With& with) {
  for (size_t i = 0; i < chosen.size(); ++i) with(chosen.is_all() ? i : size_t(chosen.ids()[i]));
}

// Of a bias, which may be empty.
std::span<const float> part(const Vector& bias, size_t first, size_t n) {
  return bias.empty() ? std::span<const float>() : std::span(bias).subspan(first, n);
}

}  // namespace

void Forward::attention_block(size_t layer, MatView<const float> normed, MatView<float> out) {
  const LayerWeights& w = model_.weights().layers[layer];
  const size_t n_tokens = normed.rows, n_kv = c_.n_kv_head * c_.d_head;
  is_predicted_ = false;
  predict(layer, PredictorInput::kAttention, normed);
  select_heads(layer, normed);
  if (observer) observer->on_attention_input(layer, normed);
  stats.all_heads[layer] += n_tokens * c_.n_head;
  const std::span<const Rows> groups = selected_groups(layer);
  if (!groups.empty() && (n_tokens <= kMaxSelectingTokens || input_->as_alone))
    return attention_selected(layer, normed, groups, out);
  complete_keys(layer);

  const MatView<float> q = buffer(s_q_, n_tokens, c_.n_head * c_.d_head);
  const MatView<float> k = buffer(s_k_, n_tokens, n_kv), v = buffer(s_v_, n_tokens, n_kv);
  tasks_ = {{w.q.W, w.q.bias, q}, {w.k.W, w.k.bias, k}, {w.v.W, w.v.bias, v}};
  project(layer, InputPart::kAttention, normed, tasks_);
  finish_heads(q, w.q_norm, 0, cos_, sin_);
  store_keys(layer, k, v);
  spans_.clear();
  for (size_t r = 0; r < input_->runs.size(); ++r) {
    const SequenceRun& run = input_->runs[r];
    const size_t n_together = input_->as_alone ? 1 : run.n_tokens;
    for (size_t t = 0; t < run.n_tokens; t += n_together)
      spans_.push_back({cache_.view(run.sequence, layer), first_token_[r] + t, n_together, first_pos_[r] + t});
    const size_t n_seen = c_.window(layer) ? std::min(spans_.back().kv.n_tokens, c_.window(layer) + run.n_tokens)
                                           : spans_.back().kv.n_tokens;
    stats.kv_bytes += 2 * n_seen * n_kv * info(cache_.shape().dtype).block_bytes;
  }
  if (observer) observer->on_attention(layer, q, k, v);
  const MatView<float> heads = buffer(s_heads_, n_tokens, c_.n_head * c_.d_head);
  const AttentionParams params{c_.attn_scale, c_.attn_soft_cap, c_.window(layer), alibi_, input_->as_alone};
  attention(compute_, q, c_.n_head, spans_, params, heads);
  if (observer) observer->on_heads(layer, heads);
  keep_selected_heads(layer, heads);
  tasks_ = {{w.o.W, w.o.bias, out}};
  project(layer, InputPart::kHeads, heads, tasks_);
}

// A few tokens, each restricted to its own groups of heads: only their rows of W_q, their keys and values, and their
// columns of W_o are read. Keys and values of the new tokens are computed for all heads, or, lazily, for the chosen
// ones.
void Forward::attention_selected(size_t layer, MatView<const float> normed, std::span<const Rows> groups,
                                 MatView<float> out) {
  const LayerWeights& w = model_.weights().layers[layer];
  const size_t n_tokens = normed.rows, n_kv = c_.n_kv_head * c_.d_head, width = c_.n_head / c_.n_kv_head * c_.d_head;
  const MatView<float> q = buffer(s_q_, n_tokens, c_.n_head * c_.d_head), heads = buffer(s_heads_, n_tokens, q.cols);
  const AttentionParams params{c_.attn_scale, c_.attn_soft_cap, c_.window(layer), alibi_, false};
  const bool cuts = can_cut_columns(w.o.W.dtype, width), lazy = plan->lazy_keys;
  ColumnBlocks W_o = plan->layers[layer].heads.W_o;
  if (!W_o && cuts) W_o = column_blocks(w.o.W, c_.n_kv_head);

  // All products of one token in one call; those of W_k and W_v once for all tokens.
  const MatView<float> k = buffer(s_k_, n_tokens, n_kv), v = buffer(s_v_, n_tokens, n_kv);
  tasks_.clear();
  if (!lazy) {
    complete_keys(layer);
    tasks_ = {{w.k.W, w.k.bias, k}, {w.v.W, w.v.bias, v}};
    stats.weight_bytes += w.k.W.bytes() + w.v.W.bytes();
    if (n_tokens > 1) {
      matmul(compute_, normed, tasks_, bits_);
      store_keys(layer, k, v);
      tasks_.clear();
    }
  }
  for (size_t r = 0, t = 0; r < input_->runs.size(); ++r) {
    const SequenceRun& run = input_->runs[r];
    for (size_t i = 0; i < run.n_tokens; ++i, ++t) {
      const Rows& chosen = groups[t];
      if (lazy) {
        project_lazily(layer, r, first_pos_[r] + i, normed.row(t), chosen, q.row_range(t, 1));
      } else {
        for_each(chosen, [&](size_t g) {
          tasks_.push_back({w.q.W.row_range(g * width, width), part(w.q.bias, g * width, width),
                            q.row_range(t, 1).col_range(g * width, width)});
        });
        matmul(compute_, normed.row_range(t, 1), tasks_, bits_);
        if (n_tokens == 1) store_keys(layer, k, v);
        tasks_.clear();
      }
      stats.weight_bytes += chosen.size() * width * row_bytes(w.q.W.dtype, w.q.W.cols);
      finish_queries(layer, t, chosen, q.row_range(t, 1));

      AttentionSpan span{cache_.view(run.sequence, layer), t, 1, first_pos_[r] + i};
      span.all_heads = chosen.is_all();
      span.kv_heads = chosen.ids();
      const size_t n_seen = c_.window(layer) ? std::min(span.first_pos + 1, c_.window(layer)) : span.first_pos + 1;
      stats.kv_bytes += 2 * n_seen * chosen.size() * c_.d_head * info(cache_.shape().dtype).block_bytes;
      if (observer || !cuts) std::ranges::fill(heads.row(t), 0.0f);
      attention(compute_, q, c_.n_head, {&span, 1}, params, heads);
      stats.active_heads[layer] += chosen.size() * (width / c_.d_head);
      if (!cuts || chosen.is_all()) {
        linear(heads.row_range(t, 1), w.o, out.row_range(t, 1));
      } else {
        dot_column_blocks(compute_, W_o, chosen.ids(), heads.row(t), w.o.bias, out.row(t));
        stats.weight_bytes += chosen.size() * W_o.block_bytes();
      }
    }
  }
  if (observer) observer->on_heads(layer, heads);
}

void Forward::finish_queries(size_t layer, size_t token, const Rows& chosen, MatView<float> q) {
  const size_t n_group = c_.n_head / c_.n_kv_head, width = n_group * c_.d_head;
  const bool rotated = c_.position == PositionKind::kRope;
  for_each(chosen, [&](size_t g) {
    finish_heads(q.col_range(g * width, width), model_.weights().layers[layer].q_norm, g * n_group,
                 rotated ? cos_.row_range(token, 1) : cos_, rotated ? sin_.row_range(token, 1) : sin_);
  });
}

// Makes the new tokens' products of W_k and W_v what attention reads, and caches them.
void Forward::store_keys(size_t layer, MatView<float> k, MatView<float> v) {
  finish_heads(k, model_.weights().layers[layer].k_norm, 0, cos_, sin_);
  if (c_.clip_qkv > 0)
    for (size_t t = 0; t < v.rows; ++t)
      for (float& x : v.row(t)) x = std::clamp(x, -c_.clip_qkv, c_.clip_qkv);
  for (size_t r = 0; r < input_->runs.size(); ++r) {
    const SequenceRun& run = input_->runs[r];
    cache_.store(run.sequence, layer, first_pos_[r], k.row_range(first_token_[r], run.n_tokens),
                 v.row_range(first_token_[r], run.n_tokens));
  }
}

// What stands between the product and attention, for heads first_head, ... of queries or keys: clipped, normalised,
// rotated as the model wants it. cos and sin are those of x's rows.
void Forward::finish_heads(MatView<float> x, const NormWeights& n, size_t first_head, MatView<const float> cos,
                           MatView<const float> sin) {
  const bool rotated = c_.position == PositionKind::kRope, normed = c_.qk_norm != QkNorm::kNone;
  if (c_.clip_qkv <= 0 && !rotated && !normed) return;
  // Normalised at once: a head, or all heads of a token.
  const size_t norm_width = c_.qk_norm == QkNorm::kAllHeads ? x.cols : c_.d_head;
  compute_.threads.parallel_for(x.rows, 4, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      if (c_.clip_qkv > 0)
        for (float& value : x.row(t)) value = std::clamp(value, -c_.clip_qkv, c_.clip_qkv);
      for (size_t first = 0; normed && first < x.cols; first += norm_width) {
        const std::span<float> part = x.row(t).subspan(first, norm_width);
        const size_t offset = c_.qk_norm == QkNorm::kShared ? 0 : first_head * c_.d_head + first;
        const std::span<const float> weight = std::span(n.weight).subspan(offset, norm_width);
        if (c_.qk_norm_kind == NormKind::kRms) {
          rms_norm(part, weight, c_.norm_eps, part);
        } else {
          const auto bias = n.bias.empty() ? std::span<const float>() : std::span(n.bias).subspan(offset, norm_width);
          layer_norm(part, weight, bias, c_.norm_eps, part);
        }
      }
      for (size_t first = 0; rotated && first < x.cols; first += c_.d_head)
        rope(x.row(t).subspan(first, c_.d_head), cos.row(t), sin.row(t), c_.rope.interleaved);
    }
  });
}

// Chooses the groups of heads of this layer, if its predictor reads this input, and of the next if that one's does.
void Forward::select_heads(size_t layer, MatView<const float> attn_in) {
  if (!restricts()) return;
  const auto reads = [&](size_t l, HeadInput input) {
    return l < c_.n_layer && plan->layers[l].heads.groups && plan->layers[l].heads.input == input;
  };
  if (reads(layer, HeadInput::kAttention)) predict_heads(layer, attn_in);
  if (reads(layer + 1, HeadInput::kPreviousAttention)) predict_heads(layer + 1, attn_in);
}

void Forward::predict_heads(size_t layer, MatView<const float> X) {
  const HeadPlan& p = plan->layers[layer].heads;
  const MatView<float> scores = buffer(s_score_, X.rows, c_.n_kv_head);
  // As alone: the order of sums must not depend on how many tokens there are.
  const size_t n_together = input_->as_alone ? 1 : X.rows;
  for (size_t t = 0; t < X.rows; t += n_together)
    p.groups->score(compute_, X.row_range(t, n_together), scores.row_range(t, n_together));
  stats.weight_bytes += p.groups->bytes();
  stats.predictor_bytes += p.groups->bytes();
  std::vector<Rows>& chosen = heads_[layer % 2];
  if (chosen.size() < X.rows) chosen.resize(X.rows);
  for (size_t t = 0; t < X.rows; ++t) {
    select_above(scores.row(t), p.threshold, chosen[t]);
    if (chosen[t].size() == c_.n_kv_head) chosen[t].refill_all(c_.n_kv_head);
  }
  heads_layer_[layer % 2] = layer;
}

// The groups that every token is restricted to by prediction; empty: none is restricted.
std::span<const Rows> Forward::selected_groups(size_t layer) const {
  return heads_layer_[layer % 2] == layer ? std::span(heads_[layer % 2]) : std::span<const Rows>();
}

// Zeroes the outputs of heads that the token's selection, from outside or predicted, leaves out.
void Forward::keep_selected_heads(size_t layer, MatView<float> attn_out) {
  const std::span<const Rows> groups = selected_groups(layer);
  const size_t n_group = c_.n_head / c_.n_kv_head;
  for (size_t t = 0; t < attn_out.rows; ++t) {
    const Rows* kept = !input_->selections.empty() ? &input_->selections[t].heads[layer]
                            : !groups.empty()           ? &groups[t]
                                                        : nullptr;
    const size_t unit = input_->selections.empty() ? n_group : 1;  // heads that a row of the selection stands for
    stats.active_heads[layer] += kept ? kept->size() * unit : c_.n_head;
    if (!kept || kept->is_all()) continue;
    size_t next = 0;
    for (size_t h = 0; h < c_.n_head; h += unit) {
      const bool keep = next < kept->size() && kept->ids()[next] == h / unit;
      next += keep;
      if (!keep) std::memset(&attn_out.row(t)[h * c_.d_head], 0, unit * c_.d_head * sizeof(float));
    }
  }
}

}  // namespace hunch
