// A layer of a model with several streams (Gemma 3n).
#include <cmath>

#include "model/layer.h"

namespace hunch {

void Layer::in_streams(Step& s, MatView<float> streams) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope norms(s.compute, Stage::kNorms);
  const LayerConfig& c = config;
  const size_t n = c.n_embd, n_tokens = streams.rows;
  const MatView<float> predicted = s.take(n_tokens, streams.cols);
  const MatView<float> resid = s.take(n_tokens, n), normed = s.take(n_tokens, n), branch = s.take(n_tokens, n);
  const auto norm = [&](MatView<const float> x, const NormWeights& weights, MatView<float> y) {
    norm_rows(s.compute, c, x, weights, y);
  };
  const auto watch = [&](Branch which) {
    if (s.observer) s.observer->on_branch(c.index, which, resid, branch);
  };
  alt_up.predict(s, c, streams, predicted);
  copy_rows(predicted.col_range(c.active_stream * n, n), resid);

  norm(resid, attn_norm, normed);
  attention(s, c, normed, branch);
  norm(branch, post_attn_norm, branch);
  watch(Branch::kAttention);
  add_rows(s.compute, 1.0f, branch, resid);
  laurel(s, c, normed, branch);
  add_rows(s.compute, 1.0f, branch, resid);
  for (size_t t = 0; t < n_tokens; ++t) scale(float(std::sqrt(0.5)), resid.row(t));

  norm(resid, ffn_norm, normed);
  mlp(s, c, s.all(), normed, branch);
  norm(branch, post_ffn_norm, branch);
  watch(Branch::kMlp);
  add_rows(s.compute, 1.0f, branch, resid);

  copy_rows(predicted, streams);
  alt_up.correct(s, c, resid, streams);
  copy_rows(streams.col_range(c.active_stream * n, n), normed);
  for (size_t t = 0; t < n_tokens && !alt_up.output_scale.empty(); ++t) multiply(alt_up.output_scale, normed.row(t));
  per_layer(s, c, normed, branch);
  for (size_t i = 1; i < c.n_streams; ++i) add_rows(s.compute, 1.0f, branch, streams.col_range(i * n, n));
}

}  // namespace hunch
