#include "compress/layer_fit.h"

#include <algorithm>

#include "base/error.h"
#include "compress/predictor_trainer.h"
#include "compress/sign_fit.h"
#include "engine/oracle.h"
#include "select/expert_predictors.h"

namespace hunch {
namespace {

std::vector<size_t> ranks_for(size_t n_embd, size_t asked) {
  if (asked) return {std::min(asked, n_embd)};
  if (n_embd < 64) return {std::max<size_t>(n_embd / 4, 1)};
  if (n_embd <= 1024) return {32, 64, 128};
  return {64, 128, 256};
}

// Fewer tokens teach nothing of an expert.
constexpr size_t kLeastTokens = 64;

// The predictors of one MLP, by name; every MLP of a layer gives the same names in the same order.
class MlpFitter {
 public:
  MlpFitter(Compute& compute, const Mlp& mlp, const MlpTrace& trace, const NeuronStatistics& statistics,
            const SparsifyOptions& options, const Progress& progress)
      : compute_(compute), mlp_(mlp), trace_(trace), statistics_(statistics), options_(options), progress_(progress) {}

  struct Named {
    std::string name;
    std::shared_ptr<const Predictor> predictor;
  };

  std::vector<Named> fit() {
    const Linear& first = mlp_.gate ? *mlp_.gate : *mlp_.up;
    if (wanted("hot")) add("hot", make_hot_set(statistics_, trace_.n_embd));
    if (wanted("signs")) add("signs", make_sign_predictor(compute_, first, trace_, trace_.n_first, statistics_));
    if (!wanted("lowrank") && !wanted("lowrank_relu") && !wanted("svd")) return std::move(found_);

    const std::vector<size_t> ranks = ranks_for(trace_.n_embd, options_.rank);
    const LowRankBasis basis =
        fit_basis(compute_, first, neuron_norms(compute_, *mlp_.down), trace_, trace_.n_first, ranks.back());
    for (size_t rank : ranks) {
      LowRankFit low_rank = truncate(basis, rank);
      if (wanted("svd")) add_low_rank("svd", low_rank);
      if (!wanted("lowrank")) continue;
      train(low_rank, false);
      add_low_rank("lowrank", std::move(low_rank));
    }
    // The hidden ReLU, whose training is as long again, is tried at the largest rank only, unless asked for.
    if (!wanted("lowrank_relu") || ranks.back() < 2) return std::move(found_);
    for (size_t rank : options_.predictor == "auto" ? std::vector{ranks.back()} : ranks) {
      LowRankFit low_rank = rectified(truncate(basis, rank / 2));
      train(low_rank, true);
      add_low_rank("lowrank_relu", std::move(low_rank), true);
    }
    return std::move(found_);
  }

 private:
  bool wanted(const char* kind) const { return options_.predictor == "auto" || options_.predictor == kind; }
  void add(std::string name, std::shared_ptr<const Predictor> predictor) {
    found_.push_back({std::move(name), std::move(predictor)});
  }
  void add_low_rank(const char* kind, LowRankFit low_rank, bool relu = false) {
    add_value(statistics_, low_rank.bias);
    for (DType dtype : {DType::kQ8_0, DType::kQ4_0})
      add(fmt::format("{} {} {}", kind, low_rank.rank(), name_of(dtype)), make_low_rank(low_rank, dtype, relu));
  }
  void train(LowRankFit& low_rank, bool relu) {
    const std::string where = fmt::format(
        "layer {}{}", trace_.layer, trace_.expert == LinearId::kNone ? "" : fmt::format(", expert {}", trace_.expert));
    TrainOptions train_options;
    train_options.n_epochs = options_.n_epochs;
    train_options.relu = relu;
    train_low_rank(compute_, low_rank, trace_, trace_.n_first, train_options,
                   [&](std::string_view, uint64_t done, uint64_t total) {
                     if (progress_) progress_(where, done, total);
                   });
  }

  Compute& compute_;
  const Mlp& mlp_;
  const MlpTrace& trace_;
  const NeuronStatistics& statistics_;
  const SparsifyOptions& options_;
  const Progress& progress_;
  std::vector<Named> found_;
};

// Of all experts together, by how many tokens came to each: scores of experts are relative to the same.
void share_means(std::span<const MlpTrace> traces, std::span<NeuronStatistics> statistics) {
  double n = 0, value = 0, when_active = 0;
  for (size_t i = 0; i < traces.size(); ++i) {
    const double weight = double(traces[i].n_first);
    n += weight, value += weight * statistics[i].mean_value, when_active += weight * statistics[i].mean_when_active;
  }
  for (NeuronStatistics& s : statistics)
    s.mean_value = value / std::max(n, 1.0), s.mean_when_active = when_active / std::max(n, 1.0);
}

}  // namespace

double LayerFit::bytes(const PredictorCandidate& candidate, const CurvePoint& point) const {
  return n_mlps * double(candidate.predictor->bytes()) + first_bytes * point.density +
         second_bytes * (skips_second ? active * point.recall : 1);
}

LayerFit fit_layer(const Engine& engine, std::span<const MlpTrace> traces, const SparsifyOptions& options,
                   const Progress& progress) {
  Compute& compute = *engine.compute;
  const size_t l = traces[0].layer;
  const Layer& layer = engine.model->weights().layers[l];
  const bool is_dense = traces[0].expert == LinearId::kNone;
  const auto mlp_of = [&](const MlpTrace& t) -> const Mlp& {
    return is_dense ? layer.mlp : layer.experts.experts[t.expert];
  };
  const Mlp& any = mlp_of(traces[0]);
  LayerFit fit;
  fit.layer = l;
  fit.n_mlps = is_dense ? 1 : double(layer.config.moe.n_expert_used);
  fit.skips_second = any.down->reads_less_by_input(1);
  fit.first_bytes = fit.n_mlps * double((any.gate ? any.gate : any.up)->bytes());
  fit.second_bytes = fit.n_mlps * double((any.gate ? any.up->bytes() : 0) + any.down->bytes());

  std::vector<NeuronStatistics> statistics;
  double n_train = 0;
  for (const MlpTrace& t : traces) {
    statistics.push_back(neuron_statistics(t, t.n_first));
    fit.active += statistics.back().density * double(t.n_first);
    n_train += double(t.n_first);
  }
  fit.active /= std::max(n_train, 1.0);
  if (is_dense) fit.frequency = statistics[0].frequency;
  if (fit.active == 0) {
    fit.note = fmt::format("layer {}: no neuron was active on the text; it stays exact", l);
    return fit;
  }
  share_means(traces, statistics);
  std::vector<std::vector<MlpFitter::Named>> found(traces.size());
  std::vector<uint32_t> seldom;
  size_t any_found = traces.size();
  for (size_t i = 0; i < traces.size(); ++i) {
    if (!is_dense && (traces[i].n_first < kLeastTokens || statistics[i].density == 0)) {
      seldom.push_back(traces[i].expert);
      continue;
    }
    found[i] = MlpFitter(compute, mlp_of(traces[i]), traces[i], statistics[i], options, progress).fit();
    any_found = i;
  }
  if (any_found == traces.size()) {
    fit.note =
        fmt::format("layer {}: fewer than {} tokens of the text come to each expert; it stays exact", l, kLeastTokens);
    return fit;
  }
  if (!seldom.empty())
    fit.note =
        fmt::format("layer {}: the text seldom comes to experts {}; they stay exact", l, fmt::join(seldom, ", "));
  for (size_t c = 0; c < found[any_found].size(); ++c) {
    std::vector<Trial> trials;
    std::vector<std::shared_ptr<const Predictor>> predictors;
    for (size_t i = 0; i < traces.size(); ++i) {
      predictors.push_back(found[i].empty() ? nullptr : found[i][c].predictor);
      trials.push_back({predictors.back().get(), &traces[i], traces[i].n_first});
    }
    DensityCurve curve = measure_curve(compute, trials);
    fit.candidates.push_back({found[any_found][c].name,
                              is_dense ? predictors[0] : std::make_shared<const ExpertPredictors>(predictors),
                              std::move(curve)});
  }
  return fit;
}

}  // namespace hunch
