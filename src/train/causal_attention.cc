#include "train/causal_attention.h"

#include <algorithm>

#include "kernels/ops.h"
#include "train/gradients.h"

namespace hunch {
namespace {

constexpr size_t kQueryRows = 64;  // that are taken at a time: what lies after them is not computed

// A stretch of queries of one head, and the keys that any of them sees: keys [0, n_seen) but for those before `first`,
// which no query does. Query t is key n_before + t.
struct Stretch {
  size_t begin, n, n_before, first, n_seen;
};

Stretch stretch_at(const LayerConfig& c, const SequenceShape& shape, size_t begin) {
  const size_t n = std::min(kQueryRows, shape.n_tokens - begin);
  return {begin, n, shape.n_before, c.window > 0 && begin + 1 > c.window ? begin + 1 - c.window : 0,
          shape.n_before + begin + n};
}

// P [n, n_seen - first]: row t is the softmax over the tokens that query begin + t sees, and zeros. Where scores have a
// cap, `capped` gets them, or nobody wants them (no data).
void attention_weights(Compute& solo, Precision precision, const LayerConfig& c, const Stretch& s,
                       MatView<const float> q, MatView<const float> k, MatView<float> P, MatView<float> capped) {
  multiply_nt(solo, precision, q, k, P);
  for (size_t t = 0; t < P.rows; ++t) {
    const size_t token = s.n_before + s.begin + t,
                 first = c.window > 0 && token + 1 > c.window ? token + 1 - c.window : 0;
    const std::span<float> row = P.row(t), seen = row.subspan(first - s.first, token + 1 - first);
    std::fill(row.begin(), row.begin() + (seen.data() - row.data()), 0.0f);
    std::fill(row.begin() + (seen.data() - row.data()) + ptrdiff_t(seen.size()), row.end(), 0.0f);
    scale(c.attn_scale, seen);
    if (c.attn_soft_cap > 0) soft_cap(c.attn_soft_cap, seen);
    if (capped.data) std::ranges::copy(row, capped.row(t).begin());
    softmax(seen);
  }
}

// dP becomes the gradient of q . k: attn_scale * P * (dP - the row's sum of P * dP), times the cap's slope.
void scores_gradient(const LayerConfig& c, MatView<const float> P, MatView<const float> capped, MatView<float> dP) {
  for (size_t t = 0; t < P.rows; ++t) {
    const std::span<const float> p = P.row(t);
    const std::span<float> d = dP.row(t);
    const float mean = dot(p, d);
    for (size_t s = 0; s < d.size(); ++s) d[s] = c.attn_scale * p[s] * (d[s] - mean);
    if (capped.data) soft_cap_gradient(c.attn_soft_cap, capped.row(t), d);
  }
}

// The queries of one sequence that share a key head.
struct Group {
  size_t sequence, key;
  template <class T>
  MatView<T> queries(const SequenceShape& shape, MatView<T> m, size_t head, size_t d_head) const {
    return m.row_range(sequence * shape.n_tokens, shape.n_tokens).col_range(head * d_head, d_head);
  }
  template <class T>
  MatView<T> keys(const SequenceShape& shape, MatView<T> m, size_t d_head) const {
    return m.row_range(sequence * shape.n_keys(), shape.n_keys()).col_range(key * d_head, d_head);
  }
};

// each(solo, group) for all of them; one thread has a group alone, so that it adds up its queries' gradients in order.
template <class Each>
void for_each_group(const AttentionPass& pass, const LayerConfig& c, const SequenceShape& shape, const Each& each) {
  pass.compute.threads.parallel_for_dynamic(shape.n_sequences * c.n_kv_head, 1,
                                            [&](size_t begin, size_t end, size_t thread) {
                                              for (size_t i = begin; i < end; ++i)
                                                each(pass.solo.of(thread), Group{i / c.n_kv_head, i % c.n_kv_head});
                                            });
}

void fill_zeros(MatView<float> m) {
  for (size_t r = 0; r < m.rows; ++r) std::ranges::fill(m.row(r), 0.0f);
}

}  // namespace

void causal_attention(const AttentionPass& pass, const LayerConfig& c, const SequenceShape& shape,
                      MatView<const float> q, MatView<const float> k, MatView<const float> v, MatView<float> heads) {
  for_each_group(pass, c, shape, [&](Compute& solo, const Group& group) {
    for (size_t head = group.key * c.n_group(); head < (group.key + 1) * c.n_group(); ++head)
      for (size_t begin = 0; begin < shape.n_tokens; begin += kQueryRows) {
        const Arena::Scope scope(solo.arena);
        const Stretch s = stretch_at(c, shape, begin);
        const size_t n_seen = s.n_seen - s.first;
        const auto query = [&](auto m) { return group.queries(shape, m, head, c.d_head).row_range(s.begin, s.n); };
        const auto key = [&](auto m) { return group.keys(shape, m, c.d_head).row_range(s.first, n_seen); };
        const MatView<float> P = take_matrix(solo, s.n, n_seen);
        attention_weights(solo, pass.precision, c, s, query(q), key(k), P, {});
        multiply_nn(solo, pass.precision, P, key(v), Into::kReplaces, query(heads));
      }
  });
}

void causal_attention_gradient(const AttentionPass& pass, const LayerConfig& c, const SequenceShape& shape,
                               MatView<const float> q, MatView<const float> k, MatView<const float> v,
                               MatView<const float> d_heads, MatView<float> d_q, MatView<float> d_k,
                               MatView<float> d_v) {
  for_each_group(pass, c, shape, [&](Compute& solo, const Group& group) {
    for (const MatView<float>& d : {d_k, d_v}) fill_zeros(group.keys(shape, d, c.d_head));
    for (size_t head = group.key * c.n_group(); head < (group.key + 1) * c.n_group(); ++head)
      for (size_t begin = 0; begin < shape.n_tokens; begin += kQueryRows) {
        const Arena::Scope scope(solo.arena);
        const Stretch s = stretch_at(c, shape, begin);
        const size_t n_seen = s.n_seen - s.first;
        const auto query = [&](auto m) { return group.queries(shape, m, head, c.d_head).row_range(s.begin, s.n); };
        const auto key = [&](auto m) { return group.keys(shape, m, c.d_head).row_range(s.first, n_seen); };
        const MatView<float> P = take_matrix(solo, s.n, n_seen), dP = take_matrix(solo, s.n, n_seen);
        const MatView<float> capped = c.attn_soft_cap > 0 ? take_matrix(solo, s.n, n_seen) : MatView<float>();
        attention_weights(solo, pass.precision, c, s, query(q), key(k), P, capped);
        multiply_tn(solo, pass.precision, P, query(d_heads), Into::kAdds, key(d_v));
        multiply_nt(solo, pass.precision, query(d_heads), key(v), dP);
        scores_gradient(c, P, capped, dP);
        multiply_nn(solo, pass.precision, dP, key(k), Into::kReplaces, query(d_q));
        multiply_tn(solo, pass.precision, dP, query(q), Into::kAdds, key(d_k));
      }
  });
}

}  // namespace hunch
