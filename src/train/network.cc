#include "train/network.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/gemm_bf16.h"
#include "kernels/look_up.h"
#include "kernels/ops.h"
#include "linear/values.h"
#include "model/norm_names.h"
#include "train/coverage.h"
#include "train/gradients.h"
#include "train/random_values.h"

namespace hunch {
namespace {

void copy_all(MatView<const float> from, MatView<float> to) {
  for (size_t t = 0; t < to.rows; ++t) std::ranges::copy(from.row(t), to.row(t).begin());
}

}  // namespace

size_t TokenBatch::n_counted() const { return targets.size() - size_t(std::ranges::count(targets, kNoTarget)); }

Network::Network(const Model& model, Compute& compute)
    : model_(model), compute_(compute), solo_(compute.threads.n_threads()) {
  require_trainable(model);
  const ModelWeights& w = model.weights();
  for (const Layer& layer : w.layers) blocks_.push_back(std::make_unique<TrainedBlock>(layer));
  output_norm_.model = &w.output_norm;
  output_ = std::make_unique<Projection>(*w.output);
  trains_layer_.assign(blocks_.size(), true);
}

void Network::only_layers(std::span<const size_t> layers) {
  if (layers.empty()) fail(ErrorKind::kUsage, "no layer is to be trained");
  trains_layer_.assign(blocks_.size(), false);
  for (const size_t l : layers) {
    if (l >= blocks_.size())
      fail(ErrorKind::kUsage, "layer {} is to be trained: the model has layers 0 to {}", l, blocks_.size() - 1);
    trains_layer_[l] = true;
  }
}

size_t Network::first_trained() const { return size_t(std::ranges::find(trains_layer_, true) - trains_layer_.begin()); }

std::string Network::module_name(const Linear& linear) const {
  const TensorRows& where = model_.weights().tensors.at(linear.id);
  for (const auto& [id, other] : model_.weights().tensors)
    if (id != linear.id && other.name == where.name)
      fail(ErrorKind::kUnsupported, "'{}' holds several matrices, which hunch train does not take apart", where.name);
  return where.name.substr(0, where.name.size() - std::string_view(".weight").size());
}

// What is trained is written in the types that it was read from.
void Network::require_plain_weights() const {
  for (const auto& [id, where] : model_.weights().tensors) {
    const Tensor* t = where.stored.empty() ? nullptr : model_.file().find(where.stored);
    if (t && is_plain(t->dtype)) continue;
    fail(ErrorKind::kUnsupported,
         "'{}' is {}, and all weights are trained only of models in f32, f16 or bf16: train an adapter, or convert the "
         "model first",
         where.name, t ? name_of(t->dtype) : "a product of two matrices, or thinned out");
  }
}

void Network::train_all() {
  require_plain_weights();
  for (size_t l = 0; l < blocks_.size(); ++l) {
    if (!trains_layer_[l]) continue;
    TrainedBlock& block = *blocks_[l];
    block.attn_norm.train(parameters, l, norm_name(model_.file(), l, true));
    block.ffn_norm.train(parameters, l, norm_name(model_.file(), l, false));
    const std::string blk = fmt::format("blk.{}.", l);
    block.q_norm.train(parameters, l, blk + "attn_q_norm");
    block.k_norm.train(parameters, l, blk + "attn_k_norm");
    block.post_attn_norm.train(parameters, l, blk + "post_attention_norm");
    block.post_ffn_norm.train(parameters, l, blk + "post_ffw_norm");
    block.for_each_projection([&](Projection& p) { p.train_weights(compute_, parameters, l, module_name(p.base())); });
  }
  if (std::ranges::count(trains_layer_, false) > 0) return;
  const ModelConfig& c = model_.config();
  const ModelWeights& w = model_.weights();
  output_norm_.train(parameters, Parameter::kNoLayer, "output_norm");
  embedding_ = &parameters.add("token_embd.weight", Parameter::kNoLayer, c.n_vocab, c.n_embd, true);
  decode_rows(compute_, w.token_embd, embedding_->value);
  if (c.position == PositionKind::kLearned) {
    positions_ = &parameters.add("position_embd.weight", Parameter::kNoLayer, c.n_ctx_train, c.n_embd, true);
    std::ranges::copy(w.position_embd, positions_->values().begin());
  }
  const TensorRows& output = w.tensors.at(w.output->id);
  if (output.name == output.stored) {
    output_->train_weights(compute_, parameters, Parameter::kNoLayer, "output");
  } else {
    output_->share_weights(*embedding_);
  }
}

void Network::add_low_rank(const AdapterOptions& options, std::span<const Role> roles, uint64_t seed) {
  if (options.rank == 0) fail(ErrorKind::kUsage, "a rank of 0 (rank): expected 1 or more");
  for (size_t l = 0; l < blocks_.size(); ++l)
    blocks_[l]->for_each_projection([&](Projection& p) {
      if (!trains_layer_[l] || std::ranges::find(roles, p.base().id.role) == roles.end()) return;
      p.add_low_rank(compute_, parameters, l, module_name(p.base()), options, seed);
    });
}

void Network::add_factors() {
  for (size_t l = 0; l < blocks_.size(); ++l) {
    if (!trains_layer_[l]) continue;
    TrainedBlock& block = *blocks_[l];
    for (Projection* p : {&block.k, &block.v}) p->add_factors(parameters, l, module_name(p->base()), false);
    block.down.add_factors(parameters, l, module_name(block.down.base()), true);
  }
}

void Network::add_virtual_tokens(size_t n, bool keys, uint64_t seed) {
  const ModelConfig& c = model_.config();
  if (n == 0) fail(ErrorKind::kUsage, "0 virtual tokens (n_virtual_tokens): expected 1 or more");
  if (n >= std::min(c.n_ctx_train, c.n_vocab))
    fail(ErrorKind::kUsage, "{} virtual tokens (n_virtual_tokens): the model has a context of {} and {} words", n,
         c.n_ctx_train, c.n_vocab);
  for (const LayerConfig& l : c.layers)
    if (keys && l.window > 0)
      fail(ErrorKind::kUnsupported, "layer {} has a window, which keys before every text do not go with", l.index);
  RandomValues random(seed, "virtual tokens");
  std::vector<int32_t> words(n);
  for (int32_t& word : words) word = int32_t(random.below(c.n_vocab));
  if (keys) return begin_prefix(words);
  prompt_ = &parameters.add("prompt_embeddings", Parameter::kNoLayer, n, c.n_embd, true);
  look_up_rows(compute_, model_.weights().token_embd, words, prompt_->value);
  n_virtual_ = n;
}

// Keys and values are those of the words as a text of their own, keys as if none were turned.
void Network::begin_prefix(std::span<const int32_t> words) {
  const TokenBatch batch{{1, words.size()}, {words.begin(), words.end()}, std::vector<int32_t>(words.size(), 0)};
  prepare(batch, 1);
  embed(batch, streams_);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    TrainedBlock& block = *blocks_[l];
    const auto begin = [&](const char* what, size_t n) -> Parameter& {
      return parameters.add(fmt::format("blk.{}.{}", l, what), l, words.size(), n, true);
    };
    Parameter& keys = begin("prefix_keys", block.k.base().n_out);
    Parameter& values = begin("prefix_values", block.v.base().n_out);
    block.begin_prefix(pass_of(block.config), streams_, keys.value, values.value);
    block.forward(pass_of(block.config), streams_);
    block.prefix_keys = &keys;
    block.prefix_values = &values;
  }
  n_virtual_ = words.size();
}

void Network::round_weights(DType dtype, bool learns_clipping) {
  for (size_t l = 0; l < blocks_.size(); ++l)
    blocks_[l]->for_each_projection([&](Projection& p) {
      p.round_weights(compute_, dtype);
      if (learns_clipping) p.learn_clipping(compute_, parameters, l, module_name(p.base()));
    });
}

void Network::finish_gradients() {
  for (const auto& block : blocks_) block->for_each_projection([&](Projection& p) { p.finish_gradients(compute_); });
}

void Network::keep_zeros() {
  for (const auto& block : blocks_)
    block->for_each_projection([](Projection& p) {
      if (p.weights()) p.keep_zeros();
    });
}

void Network::prune(double share) {
  for (const auto& block : blocks_)
    block->for_each_projection([&](Projection& p) {
      if (p.weights()) p.prune(share);
    });
}

void Network::become_relu() {
  became_relu_ = true;
  for (const auto& block : blocks_) block->activation = Activation::kRelu;
}

void Network::set_threshold(float threshold) {
  for (const auto& block : blocks_) block->threshold = threshold;
}

void Network::set_precision(Precision precision) {
  if (precision == Precision::kBf16 && !multiplies_bf16())
    fail(ErrorKind::kUnsupported,
         "this processor has no products of bf16 (AVX512_BF16: Cooper Lake, Sapphire Rapids, Zen 4 and later): train "
         "in f32 (precision)");
  precision_ = precision;
  for (const auto& block : blocks_) block->for_each_projection([&](Projection& p) { p.set_precision(precision); });
  output_->set_precision(precision);
}

void Network::set_l1(double lambda, size_t n_rows) {
  for (const auto& block : blocks_) block->l1 = float(lambda / double(n_rows * block->up.base().n_out));
}

void Network::refresh() {
  for (const auto& block : blocks_) block->for_each_projection([&](Projection& p) { p.refresh(compute_); });
}

void Network::prepare(const TokenBatch& batch, size_t n_streams) {
  const ModelConfig& c = model_.config();
  HUNCH_CHECK(batch.ids.size() == batch.shape.n_rows() && batch.targets.size() == batch.shape.n_rows(),
              "{} ids for {} rows", batch.ids.size(), batch.shape.n_rows());
  text_shape_ = batch.shape;
  shape_ = {batch.shape.n_sequences, batch.shape.n_tokens + n_prompt(), n_virtual_ - n_prompt()};
  const SequenceShape& shape = shape_;
  const size_t n = n_streams * shape.n_rows() * c.n_embd;
  streams_ = {streams_memory_.get<float>(n).data(), n_streams * shape.n_rows(), c.n_embd};
  if (rotation_shape_.n_tokens == shape.n_tokens && rotation_shape_.n_sequences == shape.n_sequences &&
      rotation_shape_.n_before == shape.n_before)
    return;
  rotation_shape_ = shape;
  rotations_.clear();
  if (c.position != PositionKind::kRope) return;
  size_t n_floats = 0;
  for (const RopeTable& rope : model_.ropes()) n_floats += 2 * rope.n_pairs() * shape.n_rows();
  float* at = rotation_memory_.get<float>(n_floats).data();
  for (const RopeTable& rope : model_.ropes()) {
    const MatView<float> cos(at, shape.n_rows(), rope.n_pairs()),
        sin(at + shape.n_rows() * rope.n_pairs(), shape.n_rows(), rope.n_pairs());
    at += 2 * shape.n_rows() * rope.n_pairs();
    std::vector<double> own;
    const RopeTable::Frequencies frequencies = rope.frequencies(shape.n_keys(), own);
    for (size_t r = 0; r < shape.n_rows(); ++r)
      rope.at(shape.n_before + r % shape.n_tokens, frequencies, cos.row(r), sin.row(r));
    rotations_.push_back({cos, sin});
  }
}

TrainedBlock::Pass Network::pass_of(const LayerConfig& c) const {
  return {compute_, solo_, precision_, shape_, c.rotates ? rotations_[c.rope] : Rotation()};
}

// Where the stream has the batch's row.
size_t Network::stream_row(size_t row) const {
  const size_t T = text_shape_.n_tokens;
  return row / T * shape_.n_tokens + n_prompt() + row % T;
}

// Rows from `first` on, before `end`, that lie together in the stream; at most kLogitRows.
size_t Network::n_together(size_t first, size_t end) const {
  const size_t n = std::min(kLogitRows, end - first), T = text_shape_.n_tokens;
  return prompt_ ? std::min(n, T - first % T) : n;
}

void Network::embed(const TokenBatch& batch, MatView<float> stream) const {
  const ModelConfig& c = model_.config();
  const ModelWeights& w = model_.weights();
  const size_t T = text_shape_.n_tokens;
  for (size_t s = 0; s < shape_.n_sequences; ++s) {
    const std::span<const int32_t> ids = std::span(batch.ids).subspan(s * T, T);
    const MatView<float> words = stream.row_range(s * shape_.n_tokens + n_prompt(), T);
    for (size_t t = 0; t < n_prompt(); ++t)
      std::ranges::copy(prompt_->value.row(t), stream.row(s * shape_.n_tokens + t).begin());
    for (size_t t = 0; embedding_ && t < T; ++t)
      std::ranges::copy(embedding_->value.row(size_t(ids[t])), words.row(t).begin());
    if (!embedding_) look_up_rows(compute_, w.token_embd, ids, words);
  }
  const std::span<const float> table = positions_ ? positions_->values() : std::span<const float>(w.position_embd);
  for (size_t t = 0; t < stream.rows; ++t) {
    if (c.embedding_scale != 1.0f) scale(c.embedding_scale, stream.row(t));
    const size_t position = shape_.n_before + t % shape_.n_tokens;
    if (!table.empty()) add(table.subspan(position * c.n_embd, c.n_embd), stream.row(t));
  }
}

// In the order of the tokens: several of them are the same.
void Network::embed_backward(const TokenBatch& batch, MatView<const float> d_stream) const {
  const float embedding_scale = model_.config().embedding_scale;
  for (size_t row = 0; row < d_stream.rows; ++row) {
    const std::span<const float> d = d_stream.row(row);
    const size_t t = row % shape_.n_tokens;
    if (positions_) add(d, positions_->grad.row(t));
    if (t < n_prompt()) {
      if (prompt_->grad.data) axpy(embedding_scale, d, prompt_->grad.row(t));
    } else if (embedding_) {
      const size_t word = row / shape_.n_tokens * text_shape_.n_tokens + t - n_prompt();
      axpy(embedding_scale, d, embedding_->grad.row(size_t(batch.ids[word])));
    }
  }
}

void Network::scaled_logits(MatView<const float> final, MatView<float> out) const {
  output_->forward(compute_, final, out);
  const ModelConfig& c = model_.config();
  if (c.logit_scale == 1.0f && c.logit_soft_cap <= 0) return;
  compute_.threads.parallel_for(out.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      if (c.logit_scale != 1.0f) scale(c.logit_scale, out.row(t));
      if (c.logit_soft_cap > 0) soft_cap(c.logit_soft_cap, out.row(t));
    }
  });
}

// From the stream that leaves the last block to the loss, and to its gradient, which takes the stream's place where it
// is wanted.
double Network::head(const LossOfRows& loss_of, MatView<float> stream, bool wants_gradient) {
  const ModelConfig& c = model_.config();
  double loss = 0;
  if (wants_gradient)
    for (size_t row = 0; row < stream.rows; ++row)
      if (row % shape_.n_tokens < n_prompt()) std::ranges::fill(stream.row(row), 0.0f);  // nobody predicts there
  for (size_t first = 0, n = 0; first < text_shape_.n_rows(); first += n) {
    const Arena::Scope scope(compute_.arena);
    n = n_together(first, text_shape_.n_rows());
    const MatView<float> x = stream.row_range(stream_row(first), n), final = take_matrix(compute_, n, c.n_embd),
                         out = take_matrix(compute_, n, c.n_vocab);
    output_norm_.forward(compute_, c.norm, c.norm_eps, x, final);
    scaled_logits(final, out);
    MatView<float> capped;
    if (wants_gradient && c.logit_soft_cap > 0) {
      capped = take_matrix(compute_, n, c.n_vocab);
      copy_all(out, capped);
    }
    loss += loss_of(first, out, wants_gradient);
    if (!wants_gradient) continue;
    for (size_t t = 0; capped.data && t < n; ++t) soft_cap_gradient(c.logit_soft_cap, capped.row(t), out.row(t));
    for (size_t t = 0; c.logit_scale != 1.0f && t < n; ++t) scale(c.logit_scale, out.row(t));
    const MatView<float> d_final = take_matrix(compute_, n, c.n_embd), d_x = take_matrix(compute_, n, c.n_embd);
    output_->backward(compute_, final, out, Into::kReplaces, d_final);
    std::ranges::fill(std::span(d_x.data, n * c.n_embd), 0.0f);
    output_norm_.backward(compute_, c.norm, c.norm_eps, x, d_final, d_x);
    copy_all(d_x, x);
  }
  return loss;
}

void Network::forward(const TokenBatch& batch) {
  prepare(batch, 1);
  embed(batch, streams_);
  for (const auto& block : blocks_) {
    compute_.throw_if_stopped();
    block->forward(pass_of(block->config), streams_);
  }
}

double Network::loss(const TokenBatch& batch, const LossOfRows& loss_of) {
  forward(batch);
  return head(loss_of, streams_, false);
}

void Network::logits(size_t first, MatView<float> out) {
  const ModelConfig& c = model_.config();
  for (size_t done = 0, n = 0; done < out.rows; done += n) {
    const Arena::Scope scope(compute_.arena);
    n = n_together(first + done, first + out.rows);
    const MatView<float> final = take_matrix(compute_, n, c.n_embd);
    output_norm_.forward(compute_, c.norm, c.norm_eps, streams_.row_range(stream_row(first + done), n), final);
    scaled_logits(final, out.row_range(done, n));
  }
}

double Network::backward(const TokenBatch& batch, const LossOfRows& loss_of,
                         const std::function<void(size_t)>& is_done) {
  const size_t n_blocks = blocks_.size();
  prepare(batch, n_blocks + 1);
  const size_t n = shape_.n_rows();
  const auto entering = [&](size_t l) { return streams_.row_range(l * n, n); };
  embed(batch, entering(0));
  for (size_t l = 0; l < n_blocks; ++l) {
    compute_.throw_if_stopped();
    copy_all(entering(l), entering(l + 1));
    blocks_[l]->forward(pass_of(blocks_[l]->config), entering(l + 1));
  }
  const MatView<float> d_stream = entering(n_blocks);
  const double loss = head(loss_of, d_stream, true);
  const size_t last = embedding_ || positions_ || prompt_ ? 0 : first_trained();  // nobody below wants to know
  for (size_t l = n_blocks; l-- > last;) {
    compute_.throw_if_stopped();
    blocks_[l]->backward(pass_of(blocks_[l]->config), entering(l), d_stream);
    if (is_done) is_done(l);
  }
  if (last == 0) embed_backward(batch, d_stream);
  if (is_done) is_done(Parameter::kNoLayer);
  return loss;
}

}  // namespace hunch
