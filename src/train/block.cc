#include "train/block.h"

#include <algorithm>

#include "kernels/ops.h"
#include "train/gradients.h"

namespace hunch {

void TrainedNorm::train(Parameters& parameters, size_t layer, const std::string& name) {
  if (!is_there()) return;
  const auto copy = [&](const Vector& from, const char* what) -> Parameter* {
    if (from.empty()) return nullptr;
    Parameter& p = parameters.add(name + what, layer, 1, from.size(), false);
    std::ranges::copy(from, p.values().begin());
    return &p;
  };
  weight = copy(model->weight, ".weight");
  bias = copy(model->bias, ".bias");
}

void TrainedNorm::forward(Compute& compute, NormKind kind, float eps, MatView<const float> x, MatView<float> y) const {
  const std::span<const float> w = weights(), b = biases();
  compute.threads.parallel_for(x.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      kind == NormKind::kRms ? rms_norm(x.row(t), w, eps, y.row(t)) : layer_norm(x.row(t), w, b, eps, y.row(t));
  });
}

void TrainedNorm::backward(Compute& compute, NormKind kind, float eps, MatView<const float> x, MatView<const float> dy,
                           MatView<float> dx) const {
  const auto gradient = [](Parameter* p) { return p ? p->grads() : std::span<float>(); };
  norm_gradient(compute, kind, eps, x, weights(), dy, dx, gradient(weight), gradient(bias));
}

TrainedBlock::TrainedBlock(const Layer& layer)
    : config(layer.config),
      attn_norm{.model = &layer.attn_norm},
      ffn_norm{.model = &layer.ffn_norm},
      q_norm{.model = &layer.attention.q_norm},
      k_norm{.model = &layer.attention.k_norm},
      post_attn_norm{.model = &layer.post_attn_norm},
      post_ffn_norm{.model = &layer.post_ffn_norm},
      q(*layer.attention.q),
      k(*layer.attention.k),
      v(*layer.attention.v),
      o(*layer.attention.o),
      up(*layer.mlp.up),
      down(*layer.mlp.down),
      gate(layer.mlp.gate ? std::make_unique<Projection>(*layer.mlp.gate) : nullptr),
      activation(config.activation),
      threshold(config.details.threshold) {}

namespace {

// What is normalised at once: a head, or all heads of a token, as rows.
MatView<float> normed_rows(const LayerConfig& c, MatView<float> x) {
  return c.qk_norm == QkNorm::kAllHeads ? x : MatView<float>(x.data, x.rows * x.cols / c.d_head, c.d_head);
}
MatView<const float> normed_rows(const LayerConfig& c, MatView<const float> x) {
  return normed_rows(c, MatView<float>(const_cast<float*>(x.data), x.rows, x.cols));
}

}  // namespace

// All [n_rows, ...], keys and values with those of a prefix before each sequence's. `first` is what the activation
// reads: the gate where there is one, else up; `act` what down reads.
struct TrainedBlock::Values {
  MatView<float> normed, queries, keys, values, heads;  // of attention
  MatView<float> raw_queries, raw_keys;                 // before their norms, where they have any
  MatView<float> first, ups, act;                       // of the MLP
};

void TrainedBlock::finish_heads_of(const Pass& pass, const TrainedNorm& norm, MatView<float> x) const {
  if (norm.is_there()) {
    const MatView<float> rows = normed_rows(config, x);
    norm.forward(pass.compute, config.qk_norm_kind, config.norm_eps, rows, rows);
  }
  rotate_heads(pass.compute, config, pass.rotation, 1, x);
}

// From the gradient of finished queries or keys to that of raw ones, in place.
void TrainedBlock::finish_heads_backward(const Pass& pass, const TrainedNorm& norm, MatView<const float> raw,
                                         MatView<float> d) const {
  rotate_heads(pass.compute, config, pass.rotation, -1, d);
  if (!norm.is_there()) return;
  const Arena::Scope scope(pass.compute.arena);
  const MatView<float> before = take_matrix(pass.compute, d.rows, d.cols);
  std::ranges::fill(std::span(before.data, d.rows * d.cols), 0.0f);
  norm.backward(pass.compute, config.qk_norm_kind, config.norm_eps, normed_rows(config, raw), normed_rows(config, d),
                normed_rows(config, before));
  std::ranges::copy(std::span(before.data, d.rows * d.cols), d.data);
}

TrainedBlock::Values TrainedBlock::attend(const Pass& pass, MatView<const float> stream) const {
  Compute& compute = pass.compute;
  const size_t n = stream.rows, n_q = config.n_head * config.d_head, n_kv = config.n_kv_head * config.d_head;
  Values s;
  s.normed = take_matrix(compute, n, stream.cols);
  s.queries = take_matrix(compute, n, n_q);
  s.keys = take_matrix(compute, n, n_kv);
  s.values = take_matrix(compute, n, n_kv);
  s.heads = take_matrix(compute, n, n_q);
  attn_norm.forward(compute, config.norm, config.norm_eps, stream, s.normed);
  q.forward(compute, s.normed, s.queries);
  k.forward(compute, s.normed, s.keys);
  v.forward(compute, s.normed, s.values);
  if (q_norm.is_there()) {
    s.raw_queries = take_matrix(compute, n, n_q);
    s.raw_keys = take_matrix(compute, n, n_kv);
    std::ranges::copy(std::span(s.queries.data, n * n_q), s.raw_queries.data);
    std::ranges::copy(std::span(s.keys.data, n * n_kv), s.raw_keys.data);
  }
  finish_heads_of(pass, q_norm, s.queries);
  finish_heads_of(pass, k_norm, s.keys);
  if (prefix_keys) {
    s.keys = after_prefix(pass, *prefix_keys, s.keys);
    s.values = after_prefix(pass, *prefix_values, s.values);
  }
  causal_attention(pass.attention(), config, pass.shape, s.queries, s.keys, s.values, s.heads);
  return s;
}

// The prefix before each sequence's rows.
MatView<float> TrainedBlock::after_prefix(const Pass& pass, const Parameter& prefix, MatView<const float> rows) const {
  const SequenceShape& shape = pass.shape;
  const MatView<float> all = take_matrix(pass.compute, shape.n_sequences * shape.n_keys(), rows.cols);
  for (size_t s = 0; s < shape.n_sequences; ++s) {
    for (size_t t = 0; t < shape.n_before; ++t)
      std::ranges::copy(prefix.value.row(t), all.row(s * shape.n_keys() + t).begin());
    for (size_t t = 0; t < shape.n_tokens; ++t)
      std::ranges::copy(rows.row(s * shape.n_tokens + t), all.row(s * shape.n_keys() + shape.n_before + t).begin());
  }
  return all;
}

// The gradient of the sequences' own rows; the prefix's goes to its parameter, sequence after sequence.
MatView<float> TrainedBlock::without_prefix(const Pass& pass, const Parameter& prefix, MatView<const float> d) const {
  const SequenceShape& shape = pass.shape;
  const MatView<float> rows = take_matrix(pass.compute, shape.n_rows(), d.cols);
  for (size_t s = 0; s < shape.n_sequences; ++s) {
    for (size_t t = 0; prefix.grad.data && t < shape.n_before; ++t)
      add(d.row(s * shape.n_keys() + t), prefix.grad.row(t));
    for (size_t t = 0; t < shape.n_tokens; ++t)
      std::ranges::copy(d.row(s * shape.n_keys() + shape.n_before + t), rows.row(s * shape.n_tokens + t).begin());
  }
  return rows;
}

// stream += what the branch gives, which its norm changes in place.
void TrainedBlock::add_branch(const Pass& pass, const TrainedNorm& post, MatView<float> branch,
                              MatView<float> stream) const {
  if (post.is_there()) post.forward(pass.compute, config.norm, config.norm_eps, branch, branch);
  add_scaled(pass.compute, config.residual_scale, branch, stream);
}

// The gradient of what a branch gave before its norm (`raw`; only read where there is one), in the arena.
MatView<float> TrainedBlock::branch_gradient(const Pass& pass, const TrainedNorm& post, MatView<const float> raw,
                                             MatView<const float> d_stream) const {
  const auto zeros = [&] {
    const MatView<float> m = take_matrix(pass.compute, d_stream.rows, d_stream.cols);
    std::ranges::fill(std::span(m.data, m.rows * m.cols), 0.0f);
    return m;
  };
  const MatView<float> d = zeros();
  add_scaled(pass.compute, config.residual_scale, d_stream, d);
  if (!post.is_there()) return d;
  const MatView<float> before = zeros();
  post.backward(pass.compute, config.norm, config.norm_eps, raw, d, before);
  return before;
}

void TrainedBlock::compute_mlp(const Pass& pass, MatView<const float> normed, Values& s) const {
  Compute& compute = pass.compute;
  s.first = take_matrix(compute, normed.rows, up.base().n_out);
  s.act = take_matrix(compute, normed.rows, up.base().n_out);
  (gate ? *gate : up).forward(compute, normed, s.first);
  if (gate) {
    s.ups = take_matrix(compute, normed.rows, up.base().n_out);
    up.forward(compute, normed, s.ups);
  }
  compute.threads.parallel_for(normed.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      std::ranges::copy(s.first.row(t), s.act.row(t).begin());
      activate(activation, s.act.row(t), threshold);
      if (gate) multiply(s.ups.row(t), s.act.row(t));
    }
  });
}

void TrainedBlock::forward(const Pass& pass, MatView<float> stream) const {
  const Arena::Scope scope(pass.compute.arena);
  Values s = attend(pass, stream);
  o.forward(pass.compute, s.heads, s.normed);
  add_branch(pass, post_attn_norm, s.normed, stream);
  ffn_norm.forward(pass.compute, config.norm, config.norm_eps, stream, s.normed);
  compute_mlp(pass, s.normed, s);
  down.forward(pass.compute, s.act, s.normed);
  add_branch(pass, post_ffn_norm, s.normed, stream);
}

void TrainedBlock::begin_prefix(const Pass& pass, MatView<const float> stream, MatView<float> K,
                                MatView<float> V) const {
  const Arena::Scope scope(pass.compute.arena);
  const MatView<float> normed = take_matrix(pass.compute, stream.rows, stream.cols);
  attn_norm.forward(pass.compute, config.norm, config.norm_eps, stream, normed);
  k.forward(pass.compute, normed, K);
  v.forward(pass.compute, normed, V);
  const Pass unturned{pass.compute, pass.solo, pass.precision, pass.shape, {}};
  finish_heads_of(unturned, k_norm, K);
}

void TrainedBlock::backward(const Pass& pass, MatView<const float> entering, MatView<float> d_stream) const {
  const Arena::Scope scope(pass.compute.arena);
  const Values s = attend(pass, entering);
  const MatView<float> middle = take_matrix(pass.compute, entering.rows, entering.cols);
  {
    const Arena::Scope inner(pass.compute.arena);
    const MatView<float> branch = take_matrix(pass.compute, entering.rows, entering.cols);
    o.forward(pass.compute, s.heads, branch);
    std::ranges::copy(std::span(entering.data, entering.rows * entering.cols), middle.data);
    add_branch(pass, post_attn_norm, branch, middle);
  }
  mlp_backward(pass, s, middle, d_stream);
  attention_backward(pass, s, entering, d_stream);
}

void TrainedBlock::mlp_backward(const Pass& pass, const Values& attention, MatView<const float> middle,
                                MatView<float> d_stream) const {
  Compute& compute = pass.compute;
  const Arena::Scope scope(compute.arena);
  Values s = attention;
  const MatView<float> normed = take_matrix(compute, middle.rows, middle.cols);
  ffn_norm.forward(compute, config.norm, config.norm_eps, middle, normed);
  compute_mlp(pass, normed, s);
  const MatView<float> d_act = take_matrix(compute, s.act.rows, s.act.cols);
  MatView<float> raw;
  if (post_ffn_norm.is_there()) {
    raw = take_matrix(compute, middle.rows, middle.cols);
    down.forward(compute, s.act, raw);
  }
  const MatView<float> d_branch = branch_gradient(pass, post_ffn_norm, raw, d_stream);
  down.backward(compute, s.act, d_branch, Into::kReplaces, d_act);
  // act = f(first) * ups: d_first = d_act * ups * f'(first), d_ups = d_act * f(first), which takes act's place.
  compute.threads.parallel_for(middle.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<float> d = d_act.row(t), act = s.act.row(t);
      for (size_t i = 0; l1 > 0 && i < d.size(); ++i) d[i] += l1 * float((act[i] > 0) - (act[i] < 0));
      if (gate) {
        std::ranges::copy(s.first.row(t), act.begin());
        activate(activation, act, threshold);
        multiply(d, act);
        multiply(s.ups.row(t), d);
      }
      activate_gradient(activation, threshold, s.first.row(t), d, d);
    }
  });
  (gate ? *gate : up).backward(compute, normed, d_act, Into::kReplaces, d_branch);
  if (gate) up.backward(compute, normed, s.act, Into::kAdds, d_branch);
  ffn_norm.backward(compute, config.norm, config.norm_eps, middle, d_branch, d_stream);
}

void TrainedBlock::attention_backward(const Pass& pass, const Values& s, MatView<const float> entering,
                                      MatView<float> d_stream) const {
  Compute& compute = pass.compute;
  const auto like = [&](MatView<const float> m) { return take_matrix(compute, m.rows, m.cols); };
  const MatView<float> d_heads = like(s.heads), d_q = like(s.queries);
  MatView<float> d_k = like(s.keys), d_v = like(s.values);
  MatView<float> raw;
  if (post_attn_norm.is_there()) {
    raw = like(entering);
    o.forward(compute, s.heads, raw);
  }
  const MatView<float> d_branch = branch_gradient(pass, post_attn_norm, raw, d_stream);
  o.backward(compute, s.heads, d_branch, Into::kReplaces, d_heads);
  causal_attention_gradient(pass.attention(), config, pass.shape, s.queries, s.keys, s.values, d_heads, d_q, d_k, d_v);
  if (prefix_keys) {
    d_k = without_prefix(pass, *prefix_keys, d_k);
    d_v = without_prefix(pass, *prefix_values, d_v);
  }
  finish_heads_backward(pass, q_norm, s.raw_queries, d_q);
  finish_heads_backward(pass, k_norm, s.raw_keys, d_k);
  q.backward(compute, s.normed, d_q, Into::kReplaces, d_branch);
  // A bias of keys that are neither turned nor normalised adds the same to all scores of a query: the softmax does not
  // see it.
  k.backward(compute, s.normed, d_k, Into::kAdds, d_branch, config.rotates || k_norm.is_there());
  v.backward(compute, s.normed, d_v, Into::kAdds, d_branch);
  attn_norm.backward(compute, config.norm, config.norm_eps, entering, d_branch, d_stream);
}

}  // namespace hunch
