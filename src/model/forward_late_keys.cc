// Keys and values that are computed later than their tokens: for a head that sparse mode leaves out, when a later token
// chooses it (Liu et al. 2023, "Deja Vu", section 4.3). Their code computes all heads of 16 tokens at every sixteenth
// token; here a head that nobody chooses is caught up on its own, each at another number of tokens, so that no token
// waits for all.
#include <algorithm>

#include "model/forward.h"

namespace hunch {
namespace {

// Tokens that a head may be behind after a token's pass. Spread over the heads: those that began to wait together do
// not end together.
size_t most_missing(size_t head, size_t n_heads) {
  constexpr size_t kHalf = KvCache::kMaxDeferred / 2;
  return kHalf + head * (kHalf - 1) / n_heads;
}

}  // namespace

// W_q of the chosen groups for this token, and W_k, W_v of the heads that now get their missing keys and values: those
// chosen, and those that are too far behind. One call, in which each head takes tokens of its own.
void Forward::project_lazily(size_t layer, size_t run, size_t token, std::span<const float> x, const Rows& chosen,
                             MatView<float> q) {
  const LayerWeights& w = model_.weights().layers[layer];
  const KvCache::SequenceId sequence = input_->runs[run].sequence;
  const size_t d_head = c_.d_head, width = c_.n_head / c_.n_kv_head * d_head;
  cache_.defer(sequence, layer, token, x);
  late_.clear();
  size_t first = token, n_values = 0, next = 0;
  for (size_t head = 0; head < c_.n_kv_head; ++head) {
    const bool is_chosen = chosen.is_all() || (next < chosen.size() && chosen.ids()[next] == head);
    next += is_chosen && !chosen.is_all();
    const size_t complete = cache_.n_complete(sequence, layer, head);
    if (!is_chosen && token + 1 - complete <= most_missing(head, c_.n_kv_head)) continue;
    late_.push_back({head, complete, {nullptr, token + 1 - complete, d_head}, {nullptr, token + 1 - complete, d_head}});
    first = std::min(first, complete);
    n_values += 2 * (token + 1 - complete) * d_head;
  }

  MatView<const float> X(x.data(), 1, x.size());
  if (first < token) {
    const MatView<float> inputs = buffer(s_late_in_, token + 1 - first, x.size());
    for (size_t t = first; t <= token; ++t)
      std::ranges::copy(cache_.deferred_input(sequence, layer, t), inputs.row(t - first).begin());
    X = inputs;
  }
  float* values = s_late_.get<float>(n_values).data();
  const auto rows = [](const Linear& l, size_t begin, size_t n, MatView<float> Y, size_t first_token) {
    return RaggedTask{l.W.row_range(begin, n),
                      l.bias.empty() ? std::span<const float>() : std::span(l.bias).subspan(begin, n), Y, first_token};
  };
  ragged_.clear();
  for (LateKeys& late : late_)
    for (const auto& [linear, to] : {std::pair(&w.k, &late.k), std::pair(&w.v, &late.v)}) {
      to->data = values;
      values += to->rows * d_head;
      ragged_.push_back(rows(*linear, late.head * d_head, d_head, *to, late.first - first));
      stats.weight_bytes += d_head * row_bytes(linear->W.dtype, linear->W.cols);
    }
  for (size_t i = 0; i < chosen.size(); ++i) {
    const size_t g = chosen.is_all() ? i : chosen.ids()[i];
    ragged_.push_back(rows(w.q, g * width, width, q.col_range(g * width, width), token - first));
  }
  matmul_ragged(compute_, X, ragged_);
  for (const LateKeys& late : late_) finish_late_keys(layer, sequence, late);
}

// Before a pass that reads the keys of all heads: computes those that are missing of the tokens before it.
void Forward::complete_keys(size_t layer) {
  const LayerWeights& w = model_.weights().layers[layer];
  const size_t n_kv = c_.n_kv_head * c_.d_head;
  for (size_t r = 0; r < input_->runs.size(); ++r) {
    const KvCache::SequenceId sequence = input_->runs[r].sequence;
    size_t first = first_pos_[r];
    for (size_t head = 0; head < c_.n_kv_head; ++head)
      first = std::min(first, cache_.n_complete(sequence, layer, head));
    const size_t n = first_pos_[r] - first;
    if (n == 0) continue;
    const MatView<float> inputs = buffer(s_late_in_, n, c_.n_embd), kv = buffer(s_late_, n, 2 * n_kv);
    for (size_t t = 0; t < n; ++t)
      std::ranges::copy(cache_.deferred_input(sequence, layer, first + t), inputs.row(t).begin());
    // As alone: heads that have some of these keys keep the bits that they have.
    const MatView<float> k = kv.col_range(0, n_kv), v = kv.col_range(n_kv, n_kv);
    tasks_ = {{w.k.W, w.k.bias, k}, {w.v.W, w.v.bias, v}};
    matmul(compute_, inputs, tasks_, TokenBits::kAsAlone);
    stats.weight_bytes += w.k.W.bytes() + w.v.W.bytes();
    for (size_t head = 0; head < c_.n_kv_head; ++head) {
      const size_t column = head * c_.d_head;
      finish_late_keys(layer, sequence, {head, first, k.col_range(column, c_.d_head), v.col_range(column, c_.d_head)});
    }
  }
}

void Forward::finish_late_keys(size_t layer, KvCache::SequenceId sequence, const LateKeys& late) {
  const NormWeights& norm = model_.weights().layers[layer].k_norm;
  if (c_.position == PositionKind::kRope) {
    const size_t n_pairs = model_.rope().n_pairs();
    late_rope_.resize(KvCache::kMaxDeferred * 2 * n_pairs);
    late_rope_position_.resize(KvCache::kMaxDeferred, SIZE_MAX);
    for (size_t i = 0; i < late.k.rows; ++i) {
      const size_t position = late.first + i, slot = position % KvCache::kMaxDeferred;
      const MatView<float> cos(&late_rope_[slot * 2 * n_pairs], 1, n_pairs), sin(cos.data + n_pairs, 1, n_pairs);
      if (late_rope_position_[slot] != position) {  // as in the pass of this token alone
        model_.rope().at(position, model_.rope().frequencies(position + 1, rope_frequencies_), cos.row(0), sin.row(0));
        late_rope_position_[slot] = position;
      }
      finish_heads(late.k.row_range(i, 1), norm, late.head, cos, sin);
    }
  } else {
    finish_heads(late.k, norm, late.head, cos_, sin_);
  }
  if (c_.clip_qkv > 0)
    for (size_t i = 0; i < late.v.rows; ++i)
      for (float& x : late.v.row(i)) x = std::clamp(x, -c_.clip_qkv, c_.clip_qkv);
  cache_.store_head(sequence, layer, late.head, late.first, late.k, late.v);
}

}  // namespace hunch
