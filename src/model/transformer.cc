#include "model/transformer.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/look_up.h"
#include "linear/adapter.h"
#include "model/ops.h"
#include "model/ranks.h"

namespace hunch {

Transformer::Transformer(const Model& model, KvCache& cache, Compute& compute)
    : model_(model), cache_(cache), compute_(compute) {
  if (model.ranks() && model.ranks()->leads()) model.ranks()->lead(cache);
}

MatView<const float> Transformer::run(const StepInput& input) {
  const ModelConfig& c = model_.config();
  const MatView<float> out = result(input.logit_rows.size(), c.n_vocab);
  if (device_) {
    run_on_device(input, out);
    return out;
  }
  model_.ranks() && model_.ranks()->by_layers() ? run_in_stages(input, out) : run_in_parts(input, out);
  settle_own_keys(input.runs);
  for (const Run& run : input.runs)
    if (run.phase != Phase::kVerify) cache_.commit(run.sequence);
  return out;
}

void Transformer::run_in_parts(const StepInput& input, MatView<float> out) {
  const ModelConfig& c = model_.config();
  for_each_part(input, [&](const StepInput& part, size_t first_row) {
    in_step(part, [&](Step& s) {
      const MatView<float> stream = s.take(s.n_tokens(), c.stream_width());
      enter(s, stream);
      layers(s, 0, c.n_layer, stream);
      const MatView<float> resid = c.n_streams == 1 ? stream : s.take(s.n_tokens(), c.n_embd);
      if (c.n_streams > 1) model_.weights().streams.end(s, stream, resid);
      if (observer) observer->on_residual(c.n_layer, resid);
      logits(s, resid, out.row_range(first_row, part.logit_rows.size()));
    });
  });
}

// What enters the first layer, and what every layer gets beside it.
void Transformer::enter(Step& s, MatView<float> stream) const {
  const ModelWeights& w = model_.weights();
  const MatView<float> first = stream.col_range(0, model_.config().n_embd);
  embed(s, first);
  if (w.per_layer.n > 0) {
    const MatView<float> all = s.take(stream.rows, w.per_layer.project->n_out);
    w.per_layer(s, model_.config(), first, all);
    s.per_layer = all;
  }
  if (!w.streams.spread.empty()) w.streams.begin(s, stream);
}

void Transformer::layers(Step& s, size_t first, size_t end, MatView<float> resid) const {
  // A long prompt takes seconds in a large model. Few tokens do not: their run ends, so that what was generated is
  // whole.
  constexpr size_t kManyTokens = 32;
  for (size_t i = first; i < end; ++i) {
    if (s.n_tokens() >= kManyTokens) s.throw_if_stopped();
    const ModelConfig& c = model_.config();
    if (s.observer) s.observer->on_residual(i, resid.col_range(c.active_stream * c.n_embd, c.n_embd));
    layer(s, model_.weights().layers[i], resid);
  }
}

void Transformer::layer(Step& s, const Layer& l, MatView<float> resid) const {
  if (l.config.n_streams > 1) return l.in_streams(s, resid);
  const Arena::Scope scope(s.compute.arena);
  const StageScope norms(s.compute, Stage::kNorms);
  const LayerConfig& c = l.config;
  const MatView<float> normed = s.take(resid.rows, resid.cols), branch = s.take(resid.rows, resid.cols);
  const MatView<float> entering = c.moe.early_router ? s.take(resid.rows, resid.cols) : MatView<float>();
  if (c.moe.early_router) copy_rows(resid, entering);
  // Of branches that are added up anyway, ranks add up the sum.
  const bool one_sum = c.parallel_residual && c.mixer_in_parts && c.mlp_in_parts;
  const auto mix = [&](MatView<const float> x) {
    l.mix(s, x, branch);
    if (!c.mixer_in_parts) return;
    if (!one_sum) s.begin_sum(branch);
    s.look(c.index, x);  // predictors work while the parts are on their way (Liu et al. 2023, "Deja Vu", section 5)
    if (!one_sum) s.finish_sum();
  };
  const auto mlp = [&](MatView<const float> x, MatView<float> y) {
    if (c.moe.beside_mlp) return l.mlp_beside_experts(s, resid, x, y);
    c.has_experts() ? l.experts(s, c, c.moe.early_router ? entering : x, x, y) : l.mlp(s, c, s.all(), x, y);
    if (c.mlp_in_parts && !one_sum) s.sum_over_ranks(y);
  };
  const auto norm = [&](MatView<const float> x, const NormWeights& n, MatView<float> y) {
    norm_rows(s.compute, c, x, n, y);
  };
  const auto watch = [&](Branch which, MatView<const float> out) {
    if (s.observer) s.observer->on_branch(c.index, which, resid, out);
  };

  if (c.norm_place == NormPlace::kPost) {  // the norm stands on the stream itself
    mix(resid);
    watch(Branch::kAttention, branch);
    add_rows(s.compute, c.residual_scale, branch, resid);
    norm(resid, l.attn_norm, resid);
    mlp(resid, branch);
    watch(Branch::kMlp, branch);
    add_rows(s.compute, c.residual_scale, branch, resid);
    norm(resid, l.ffn_norm, resid);
    return;
  }
  const bool pre = c.norm_place == NormPlace::kPre;
  const auto input = [&](const NormWeights& n) -> MatView<const float> {
    if (!pre) return resid;
    norm(resid, n, normed);
    return normed;
  };
  if (c.mixer == Mixer::kNone) {
    s.look(c.index, resid);
  } else {
    mix(c.first_norm ? input(l.attn_norm) : resid);
  }
  if (c.parallel_residual) {  // both branches read the same stream
    if (!l.ffn_norm.empty()) norm(resid, l.ffn_norm, normed);
    const MatView<float> branch2 = s.take(resid.rows, resid.cols);
    mlp(normed, branch2);
    watch(Branch::kAttention, branch);
    watch(Branch::kMlp, branch2);
    add_rows(s.compute, 1.0f, branch2, branch);
    if (one_sum) s.sum_over_ranks(branch);
    add_rows(s.compute, c.residual_scale, branch, resid);
  } else {
    if (c.mixer != Mixer::kNone) {
      if (!l.post_attn_norm.empty()) norm(branch, l.post_attn_norm, branch);
      watch(Branch::kAttention, branch);
      add_rows(s.compute, c.residual_scale, branch, resid);
    }
    if (c.has_mlp()) {
      mlp(input(l.ffn_norm), branch);
      if (!l.post_ffn_norm.empty()) norm(branch, l.post_ffn_norm, branch);
      watch(Branch::kMlp, branch);
      add_rows(s.compute, c.residual_scale, branch, resid);
    }
  }
  if (l.per_layer.gate) {
    l.per_layer(s, c, resid, branch);
    add_rows(s.compute, 1.0f, branch, resid);
  }
  if (l.output_scale != 1.0f)
    for (size_t t = 0; t < resid.rows; ++t) scale(l.output_scale, resid.row(t));
}

void Transformer::embed(Step& s, MatView<float> resid) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope embedding(s.compute, Stage::kEmbedding);
  const ModelConfig& c = model_.config();
  const ModelWeights& w = model_.weights();
  const MatView<float> words = w.words_in ? s.take(resid.rows, c.n_embd_word) : resid;
  look_up_rows(s.compute, w.token_embd, s.input.ids, words);
  for (size_t t = 0; t < resid.rows; ++t) {
    if (const Run& run = s.run(t); run.is_virtual) {
      std::ranges::copy(run.adapter->virtual_tokens.embedding(size_t(s.input.ids[t])), words.row(t).begin());
    } else if (run.adapter) {
      run.adapter->embed(size_t(s.input.ids[t]), words.row(t));
    }
    if (c.embedding_scale != 1.0f) scale(c.embedding_scale, words.row(t));
  }
  if (w.words_in) w.words_in->dot(s.compute, s.all().traits, words, {}, resid);
  if (!w.position_embd.empty())
    for (size_t t = 0; t < resid.rows; ++t)
      add(std::span(w.position_embd).subspan(s.learned_position(t) * c.n_embd, c.n_embd), resid.row(t));
  for (size_t t = 0; !w.type_embd.empty() && t < resid.rows; ++t)
    add(std::span(w.type_embd).subspan(s.text_of_pair(t) * c.n_embd, c.n_embd), resid.row(t));
  if (!w.embd_norm.empty()) norm_rows(s.compute, c.norm, c.norm_eps, resid, w.embd_norm, resid);
}

}  // namespace hunch
