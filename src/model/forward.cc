#include "model/forward.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "formats/format.h"
#include "kernels/gather.h"
#include "kernels/ops.h"

namespace hunch {

void ForwardStats::add(const ForwardStats& o) {
  n_tokens += o.n_tokens;
  weight_bytes += o.weight_bytes;
  kv_bytes += o.kv_bytes;
  predictor_bytes += o.predictor_bytes;
  for (size_t i = 0; i < kNumRowPaths; ++i) batch_products[i] += o.batch_products[i];
  union_rows += o.union_rows;
  union_of += o.union_of;
  const auto sum = [](std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
    if (a.size() < b.size()) a.resize(b.size());
    for (size_t i = 0; i < b.size(); ++i) a[i] += b[i];
  };
  sum(active_neurons, o.active_neurons);
  sum(all_neurons, o.all_neurons);
  sum(active_heads, o.active_heads);
  sum(all_heads, o.all_heads);
}

Forward::Forward(const Model& model, KvCache& cache, Compute& compute)
    : model_(model), c_(model.config()), cache_(cache), compute_(compute) {
  if (c_.position == PositionKind::kAlibi) {
    alibi_ = alibi_slopes(c_.n_head, c_.alibi_max_bias);
    for (float& slope : alibi_) slope *= c_.alibi_scale;
  }
}

KvShape Forward::kv_shape(const ModelConfig& config, DType dtype, size_t page_tokens) {
  return {config.n_layer, config.n_kv_head, config.d_head, dtype, page_tokens};
}

MatView<const float> Forward::run(const ForwardInput& input) {
  begin(input);
  try {
    return compute(input);
  } catch (...) {  // Ctrl-C, a failing observer: the tokens were not computed, so they are not in the cache
    forget(input);
    throw;
  }
}

MatView<const float> Forward::run_blocks(const ForwardInput& input, size_t first, size_t end,
                                         MatView<const float> stream) {
  HUNCH_CHECK(first <= end && end <= c_.n_layer &&
              (!stream.data || (stream.rows == input.ids.size() && stream.cols == c_.n_embd)));
  begin(input);
  try {
    if (stream.data) {
      for (size_t t = 0; t < stream.rows; ++t) std::ranges::copy(stream.row(t), resid_.row(t).begin());
    } else {
      embed(input);
    }
    blocks(input, first, end);
  } catch (...) {
    forget(input);
    throw;
  }
  return resid_;
}

void Forward::forget(const ForwardInput& input) {
  for (const SequenceRun& r : input.runs) cache_.truncate(r.sequence, cache_.n_tokens(r.sequence) - r.n_tokens);
}

MatView<const float> Forward::compute(const ForwardInput& input) {
  embed(input);
  blocks(input, 0, c_.n_layer);
  if (observer) observer->on_residual(c_.n_layer, resid_);
  return logits(input);
}

void Forward::blocks(const ForwardInput& input, size_t first, size_t end) {
  // A long prompt takes seconds in a large model. Few tokens do not: their run ends, so that what was generated is
  // whole.
  constexpr size_t kManyTokens = 32;
  for (size_t layer = first; layer < end; ++layer) {
    const LayerWeights& w = model_.weights().layers[layer];
    if (input.ids.size() >= kManyTokens) throw_if_interrupted();
    if (observer) observer->on_residual(layer, resid_);

    if (c_.norm_place == NormPlace::kPost) {  // the norm stands on the stream itself
      attention_block(layer, resid_, branch_);
      if (observer) observer->on_branch(layer, Branch::kAttention, resid_, branch_);
      add_rows(branch_, resid_);
      norm(resid_, w.attn_norm, resid_);
      mlp_block(layer, resid_, branch_);
      if (observer) observer->on_branch(layer, Branch::kMlp, resid_, branch_);
      add_rows(branch_, resid_);
      norm(resid_, w.ffn_norm, resid_);
      continue;
    }

    norm(resid_, w.attn_norm, normed_);
    attention_block(layer, normed_, branch_);
    if (c_.parallel_residual) {  // both branches read the same stream
      if (!w.ffn_norm.weight.empty()) norm(resid_, w.ffn_norm, normed_);
      mlp_block(layer, normed_, branch2_);
      if (observer) {
        observer->on_branch(layer, Branch::kAttention, resid_, branch_);
        observer->on_branch(layer, Branch::kMlp, resid_, branch2_);
      }
      for (size_t t = 0; t < branch_.rows; ++t)
        add(branch2_.row(t), branch_.row(t));  // residual_scale is applied to the sum
    } else {
      if (!w.post_attn_norm.weight.empty()) norm(branch_, w.post_attn_norm, branch_);
      if (observer) observer->on_branch(layer, Branch::kAttention, resid_, branch_);
      add_rows(branch_, resid_);
      norm(resid_, w.ffn_norm, normed_);
      mlp_block(layer, normed_, branch_);
      if (!w.post_ffn_norm.weight.empty()) norm(branch_, w.post_ffn_norm, branch_);
      if (observer) observer->on_branch(layer, Branch::kMlp, resid_, branch_);
    }
    add_rows(branch_, resid_);
  }
}

// Checks the input, makes room in the cache and lays out the call's buffers.
void Forward::begin(const ForwardInput& input) {
  const size_t n_tokens = input.ids.size();
  size_t n_in_runs = 0;
  for (const SequenceRun& r : input.runs) n_in_runs += r.n_tokens;
  HUNCH_CHECK(n_in_runs == n_tokens, "{} tokens in runs, {} ids", n_in_runs, n_tokens);
  HUNCH_CHECK(input.selections.empty() || input.selections.size() == n_tokens);
  HUNCH_CHECK(mode != Mode::kSparse || (plan && plan->layers.size() == c_.n_layer), "sparse mode without a plan");
  for (int32_t id : input.ids)
    if (id < 0 || size_t(id) >= c_.n_vocab)
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {}", id, c_.n_vocab);
  const bool table = c_.position == PositionKind::kLearned || c_.position == PositionKind::kSinusoidal;
  for (const SequenceRun& r : input.runs)
    if (table && cache_.n_tokens(r.sequence) + r.n_tokens > c_.n_ctx_train)
      fail(ErrorKind::kLimit, "{} tokens are more than the model's {} positions",
           cache_.n_tokens(r.sequence) + r.n_tokens, c_.n_ctx_train);
  for (size_t i = 0; i < input.runs.size(); ++i) {
    try {
      cache_.append(input.runs[i].sequence, input.runs[i].n_tokens);
    } catch (...) {  // all or nothing
      while (i-- > 0)
        cache_.truncate(input.runs[i].sequence, cache_.n_tokens(input.runs[i].sequence) - input.runs[i].n_tokens);
      throw;
    }
  }

  input_ = &input;
  bits_ = input.as_alone ? TokenBits::kAsAlone : TokenBits::kFastest;
  decodes_ = input.as_alone ||
             std::ranges::all_of(input.runs, [](const SequenceRun& r) { return r.n_tokens <= kMaxGatheredTokens; });
  position_.clear();
  first_pos_.clear();
  first_token_.clear();
  for (const SequenceRun& r : input.runs) {
    const size_t first = cache_.n_tokens(r.sequence) - r.n_tokens;
    first_pos_.push_back(first);
    first_token_.push_back(position_.size());
    for (size_t i = 0; i < r.n_tokens; ++i) position_.push_back(first + i);
  }
  resid_ = buffer(s_resid_, n_tokens, c_.n_embd);
  normed_ = buffer(s_normed_, n_tokens, c_.n_embd);
  branch_ = buffer(s_branch_, n_tokens, c_.n_embd);
  branch2_ = c_.parallel_residual ? buffer(s_branch2_, n_tokens, c_.n_embd) : MatView<float>();
  if (c_.position == PositionKind::kRope) {
    const size_t n_pairs = model_.rope().n_pairs();
    const MatView<float> both = buffer(s_rope_, n_tokens, 2 * n_pairs);
    cos_ = both.col_range(0, n_pairs);
    sin_ = both.col_range(n_pairs, n_pairs);
    for (size_t r = 0; r < input.runs.size(); ++r) {
      const size_t end = first_token_[r] + input.runs[r].n_tokens;
      // Some scalings depend on the length of the text, which alone would end with each token.
      const size_t n_together = input.as_alone ? 1 : input.runs[r].n_tokens;
      for (size_t first = first_token_[r]; first < end; first += n_together) {
        const size_t n_ctx = position_[first] + n_together;
        const std::span<const double> frequencies = model_.rope().frequencies(n_ctx, rope_frequencies_);
        for (size_t t = first; t < first + n_together; ++t)
          model_.rope().at(position_[t], frequencies, cos_.row(t), sin_.row(t));
      }
    }
  }
  heads_layer_[0] = heads_layer_[1] = SIZE_MAX;
  stats.n_tokens += n_tokens;
  for (auto* counts : {&stats.active_neurons, &stats.all_neurons, &stats.active_heads, &stats.all_heads})
    counts->resize(c_.n_layer);
}

void Forward::embed(const ForwardInput& input) {
  const ModelWeights& w = model_.weights();
  const size_t n_tokens = input.ids.size();
  const bool projected = bool(w.proj_in.W);
  const MatView<float> words = projected ? buffer(s_word_, n_tokens, c_.n_embd_word) : resid_;
  const Format& embedding = codec(w.token_embd.dtype);
  compute_.threads.parallel_for(n_tokens, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      embedding.decode(w.token_embd.row(size_t(input.ids[t])), words.row(t).data(), c_.n_embd_word);
      if (c_.embedding_scale != 1.0f) scale(c_.embedding_scale, words.row(t));
    }
  });
  stats.weight_bytes += n_tokens * row_bytes(w.token_embd.dtype, w.token_embd.cols);
  if (projected) linear(words, w.proj_in, resid_);
  if (!w.position_embd.empty())
    for (size_t t = 0; t < n_tokens; ++t)
      add(std::span(w.position_embd).subspan(position_[t] * c_.n_embd, c_.n_embd), resid_.row(t));
  if (!w.embd_norm.weight.empty()) norm(resid_, w.embd_norm, resid_);
}

MatView<const float> Forward::logits(const ForwardInput& input) {
  const ModelWeights& w = model_.weights();
  const size_t n_rows = input.logit_rows.size();
  const MatView<float> out = buffer(s_logits_, n_rows, c_.n_vocab);
  if (n_rows == 0) return out;
  MatView<float> final = buffer(s_rows_, n_rows, c_.n_embd);
  for (size_t i = 0; i < n_rows; ++i) std::ranges::copy(resid_.row(input.logit_rows[i]), final.row(i).begin());
  if (c_.final_norm) norm(final, w.output_norm, final);
  if (w.proj_out.W) {
    const MatView<float> words = buffer(s_word_, n_rows, c_.n_embd_word);
    linear(final, w.proj_out, words);
    final = words;
  }
  if (observer) observer->on_final(final);
  // Two rows that share one reading of the whole vocabulary cost less than two screens.
  if (mode == Mode::kSparse && plan->screen && input.only_best && (n_rows == 1 || input.as_alone)) {
    for (size_t i = 0; i < n_rows; ++i) screened_logits(final.row(i), out.row(i));
  } else {
    linear(final, w.output, out);
  }
  if (c_.logit_scale != 1.0f || c_.logit_soft_cap > 0)
    compute_.threads.parallel_for(n_rows, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t i = begin; i < end; ++i) {
        if (c_.logit_scale != 1.0f) scale(c_.logit_scale, out.row(i));
        if (c_.logit_soft_cap > 0) soft_cap(c_.logit_soft_cap, out.row(i));
      }
    });
  return out;
}

// Guesses of all logits, and the exact ones of the rows that may be the largest.
void Forward::screened_logits(std::span<const float> final, std::span<float> out) {
  const Linear& output = model_.weights().output;
  plan->screen->guess(compute_, final, output.bias, out, shortlist_);
  stats.weight_bytes += plan->screen->bytes();
  stats.predictor_bytes += plan->screen->bytes();
  if (shortlist_.is_all()) return linear({final.data(), 1, final.size()}, output, {out.data(), 1, out.size()});
  const std::span<float> exact = s_gate_.get<float>(shortlist_.size()).first(shortlist_.size());
  gather_dot(compute_, output.W, shortlist_.ids(), final, exact);
  stats.weight_bytes += shortlist_.size() * row_bytes(output.W.dtype, output.W.cols);
  for (size_t k = 0; k < exact.size(); ++k) {
    const uint32_t row = shortlist_.ids()[k];
    out[row] = exact[k] + (output.bias.empty() ? 0.0f : output.bias[row]);
  }
}

void Forward::linear(MatView<const float> x, const Linear& l, MatView<float> y) {
  const MatmulTask task{l.W, l.bias, y};
  matmul(compute_, x, {&task, 1}, bits_);
  stats.weight_bytes += l.W.bytes();
}

void Forward::norm(MatView<const float> x, const NormWeights& n, MatView<float> y) {
  compute_.threads.parallel_for(x.rows, 4, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      if (c_.norm == NormKind::kRms) {
        rms_norm(x.row(t), n.weight, c_.norm_eps, y.row(t));
      } else {
        layer_norm(x.row(t), n.weight, n.bias, c_.norm_eps, y.row(t));
      }
    }
  });
}

void Forward::add_rows(MatView<const float> x, MatView<float> y) {
  for (size_t t = 0; t < x.rows; ++t) {
    if (c_.residual_scale == 1.0f) {
      add(x.row(t), y.row(t));
    } else {
      axpy(c_.residual_scale, x.row(t), y.row(t));
    }
  }
}

MatView<float> Forward::buffer(Scratch& scratch, size_t rows, size_t cols) {
  return {scratch.get<float>(rows * cols).data(), rows, cols};
}

}  // namespace hunch
