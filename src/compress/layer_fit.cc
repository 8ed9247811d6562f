#include "compress/layer_fit.h"

#include <algorithm>

#include "base/error.h"
#include "compress/predictor_trainer.h"
#include "compress/sign_fit.h"
#include "engine/oracle.h"

namespace hunch {
namespace {

std::vector<size_t> ranks_for(size_t n_embd, size_t asked) {
  if (asked) return {std::min(asked, n_embd)};
  if (n_embd < 64) return {std::max<size_t>(n_embd / 4, 1)};
  if (n_embd <= 1024) return {32, 64, 128};
  return {64, 128, 256};
}

}  // namespace

double LayerFit::bytes(const PredictorCandidate& candidate, const CurvePoint& point) const {
  return double(candidate.predictor->bytes()) + first_bytes * point.density +
         second_bytes * (skips_second ? active * point.recall : 1);
}

LayerFit fit_layer(const Engine& engine, const MlpTrace& trace, size_t n_train, const SparsifyOptions& options,
                   const Progress& progress) {
  Compute& compute = *engine.compute;
  const Mlp& mlp = engine.model->weights().layers[trace.layer].mlp;
  const Linear& first = mlp.gate ? *mlp.gate : *mlp.up;
  const std::string where = fmt::format("layer {}", trace.layer);
  const auto tell = [&](std::string_view, uint64_t done, uint64_t total) {
    if (progress) progress(where, done, total);
  };
  LayerFit fit;
  fit.layer = trace.layer;
  fit.skips_second = mlp.down->reads_less_by_input(1);
  fit.first_bytes = double(first.bytes());
  fit.second_bytes = double((mlp.gate ? mlp.up->bytes() : 0) + mlp.down->bytes());
  const NeuronStatistics statistics = neuron_statistics(trace, n_train);
  fit.active = statistics.density;
  if (statistics.density == 0) {
    fit.note = fmt::format("layer {}: no neuron was active on the text; it stays exact", trace.layer);
    return fit;
  }
  const auto add = [&](std::string name, std::shared_ptr<const Predictor> predictor) {
    DensityCurve curve = measure_curve(compute, *predictor, trace, n_train, trace.n_tokens - n_train);
    fit.candidates.push_back({std::move(name), std::move(predictor), std::move(curve)});
  };
  const auto wanted = [&](const char* kind) { return options.predictor == "auto" || options.predictor == kind; };
  if (wanted("hot")) add("hot", make_hot_set(statistics, trace.n_embd));
  if (wanted("signs")) add("signs", make_sign_predictor(compute, first, trace, n_train, statistics));
  if (!wanted("lowrank") && !wanted("lowrank_relu") && !wanted("svd")) return fit;

  const std::vector<size_t> ranks = ranks_for(trace.n_embd, options.rank);
  const LowRankBasis basis = fit_basis(compute, first, neuron_norms(compute, *mlp.down), trace, n_train, ranks.back());
  const auto add_low_rank = [&](const char* kind, LowRankFit low_rank, bool relu = false) {
    add_value(statistics, low_rank.bias);
    for (DType dtype : {DType::kQ8_0, DType::kQ4_0})
      add(fmt::format("{} {} {}", kind, low_rank.rank(), name_of(dtype)), make_low_rank(low_rank, dtype, relu));
  };
  const auto train = [&](LowRankFit& low_rank, bool relu) {
    TrainOptions train_options;
    train_options.n_epochs = options.n_epochs;
    train_options.relu = relu;
    train_low_rank(compute, low_rank, trace, n_train, train_options, tell);
  };
  for (size_t rank : ranks) {
    LowRankFit low_rank = truncate(basis, rank);
    if (wanted("svd")) add_low_rank("svd", low_rank);
    if (!wanted("lowrank")) continue;
    train(low_rank, false);
    add_low_rank("lowrank", std::move(low_rank));
  }
  // The hidden ReLU, whose training is as long again, is tried at the largest rank only, unless asked for.
  if (!wanted("lowrank_relu") || ranks.back() < 2) return fit;
  for (size_t rank : options.predictor == "auto" ? std::vector{ranks.back()} : ranks) {
    LowRankFit low_rank = rectified(truncate(basis, rank / 2));
    train(low_rank, true);
    add_low_rank("lowrank_relu", std::move(low_rank), true);
  }
  return fit;
}

}  // namespace hunch
