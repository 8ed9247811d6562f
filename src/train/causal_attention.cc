#include "train/causal_attention.h"

#include <algorithm>

#include "kernels/ops.h"
#include "train/gradients.h"
#include "train/products.h"

namespace hunch {
namespace {

// P [n, n]: row t is the softmax over the tokens that t sees, and zeros. Where scores have a cap, `capped` [n, n] gets
// them, or nobody wants them (no data).
void attention_weights(Compute& compute, const LayerConfig& c, MatView<const float> q, MatView<const float> k,
                       MatView<float> P, MatView<float> capped) {
  multiply_nt(compute, q, k, P);
  compute.threads.parallel_for(P.rows, 8, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<float> row = P.row(t);
      const size_t first = c.window > 0 && t + 1 > c.window ? t + 1 - c.window : 0;
      const std::span<float> seen = row.subspan(first, t + 1 - first);
      std::fill(row.begin(), row.begin() + ptrdiff_t(first), 0.0f);
      std::fill(row.begin() + ptrdiff_t(t) + 1, row.end(), 0.0f);
      scale(c.attn_scale, seen);
      if (c.attn_soft_cap > 0) soft_cap(c.attn_soft_cap, seen);
      if (capped.data) std::ranges::copy(row, capped.row(t).begin());
      softmax(seen);
    }
  });
}

// dP becomes the gradient of q . k: attn_scale * P * (dP - the row's sum of P * dP), times the cap's slope.
void scores_gradient(Compute& compute, const LayerConfig& c, MatView<const float> P, MatView<const float> capped,
                     MatView<float> dP) {
  compute.threads.parallel_for(P.rows, 8, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<const float> p = P.row(t);
      const std::span<float> d = dP.row(t);
      const float mean = dot(p, d);
      for (size_t s = 0; s < d.size(); ++s) d[s] = c.attn_scale * p[s] * (d[s] - mean);
      if (capped.data) soft_cap_gradient(c.attn_soft_cap, capped.row(t), d);
    }
  });
}

// One query head of one sequence, and the key head that it shares.
struct Head {
  size_t first_row, query, key;
  bool first_of_group;
  template <class T>
  MatView<T> of(const SequenceShape& shape, MatView<T> m, size_t head, size_t d_head) const {
    return m.row_range(first_row, shape.n_tokens).col_range(head * d_head, d_head);
  }
};

template <class Each>
void for_each_head(const LayerConfig& c, const SequenceShape& shape, const Each& each) {
  for (size_t s = 0; s < shape.n_sequences; ++s)
    for (size_t h = 0; h < c.n_head; ++h) each(Head{s * shape.n_tokens, h, h / c.n_group(), h % c.n_group() == 0});
}

}  // namespace

void causal_attention(Compute& compute, const LayerConfig& c, const SequenceShape& shape, MatView<const float> q,
                      MatView<const float> k, MatView<const float> v, MatView<float> heads) {
  const Arena::Scope scope(compute.arena);
  const MatView<float> P = take_matrix(compute, shape.n_tokens, shape.n_tokens);
  for_each_head(c, shape, [&](const Head& head) {
    attention_weights(compute, c, head.of(shape, q, head.query, c.d_head), head.of(shape, k, head.key, c.d_head), P,
                      {});
    multiply_nn(compute, P, head.of(shape, v, head.key, c.d_head), Into::kReplaces,
                head.of(shape, heads, head.query, c.d_head));
  });
}

void causal_attention_gradient(Compute& compute, const LayerConfig& c, const SequenceShape& shape,
                               MatView<const float> q, MatView<const float> k, MatView<const float> v,
                               MatView<const float> d_heads, MatView<float> d_q, MatView<float> d_k,
                               MatView<float> d_v) {
  const Arena::Scope scope(compute.arena);
  const MatView<float> P = take_matrix(compute, shape.n_tokens, shape.n_tokens),
                       dP = take_matrix(compute, shape.n_tokens, shape.n_tokens);
  const MatView<float> capped =
      c.attn_soft_cap > 0 ? take_matrix(compute, shape.n_tokens, shape.n_tokens) : MatView<float>();
  for_each_head(c, shape, [&](const Head& head) {
    const auto query = [&](auto m) { return head.of(shape, m, head.query, c.d_head); };
    const auto key = [&](auto m) { return head.of(shape, m, head.key, c.d_head); };
    attention_weights(compute, c, query(q), key(k), P, capped);
    const Into keys = head.first_of_group ? Into::kReplaces : Into::kAdds;
    multiply_tn(compute, P, query(d_heads), keys, key(d_v));
    multiply_nt(compute, query(d_heads), key(v), dP);
    scores_gradient(compute, c, P, capped, dP);
    multiply_nn(compute, dP, key(k), Into::kReplaces, query(d_q));
    multiply_tn(compute, dP, query(q), keys, key(d_k));
  });
}

}  // namespace hunch
