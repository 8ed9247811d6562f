#include "select/low_rank_predictor.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {

LowRankPredictor::LowRankPredictor(LowRankWeights weights) : w_(std::move(weights)) {
  HUNCH_CHECK(w_.W_in.rows == w_.W_out.cols && w_.bias.size() == w_.W_out.rows, "[{}, {}] and [{}, {}] with {} biases",
              w_.W_in.rows, w_.W_in.cols, w_.W_out.rows, w_.W_out.cols, w_.bias.size());
}

size_t LowRankPredictor::bytes() const { return w_.W_in.bytes() + w_.W_out.bytes() + w_.bias.size() * sizeof(float); }

void LowRankPredictor::score(Compute& compute, MatView<const float> X, MatView<float> scores) const {
  const Arena::Scope scope(compute.arena);
  HUNCH_CHECK(X.cols == n_in() && scores.cols == n_out() && scores.rows == X.rows);
  const MatView<float> hidden(compute.arena.take<float>(X.rows * rank()).data(), X.rows, rank());
  const MatmulTask in{w_.W_in, {}, hidden};
  matmul(compute, X, {&in, 1});
  if (w_.relu)
    for (size_t t = 0; t < X.rows; ++t)
      for (float& h : hidden.row(t)) h = std::max(h, 0.0f);
  const MatmulTask out{w_.W_out, w_.bias, scores};
  matmul(compute, hidden, {&out, 1});
}

std::shared_ptr<const Predictor> LowRankPredictor::part(size_t first, size_t n) const {
  LowRankWeights own{w_.W_in, w_.W_out.row_range(first, n), {}, w_.relu};
  own.bias.assign(w_.bias.begin() + ptrdiff_t(first), w_.bias.begin() + ptrdiff_t(first + n));
  return std::make_shared<LowRankPredictor>(std::move(own));
}

void LowRankPredictor::save(ArchiveWriter& archive) const {
  archive.matrix("_in.weight", w_.W_in);
  archive.matrix("_out.weight", w_.W_out);
  archive.floats(".bias", w_.bias);
}

std::shared_ptr<const Predictor> LowRankPredictor::load(std::string_view kind, size_t n_in, size_t n_out,
                                                        const ArchiveReader& archive) {
  if (kind != "lowrank" && kind != "lowrank_relu") return nullptr;
  LowRankWeights w;
  w.W_in = archive.matrix("_in.weight", 0, n_in);
  w.W_out = archive.matrix("_out.weight", n_out, w.W_in.rows);
  w.bias = archive.floats(".bias", n_out);
  w.relu = kind == "lowrank_relu";
  return std::make_shared<LowRankPredictor>(std::move(w));
}

}  // namespace hunch
