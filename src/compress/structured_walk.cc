#include "compress/structured_walk.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "compress/linear_algebra.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kWindow = 512;  // tokens that see each other

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ab += double(a[i]) * b[i], aa += double(a[i]) * a[i], bb += double(b[i]) * b[i];
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 1;
}

uint64_t n_weights_of(const Layer& layer) {
  uint64_t n = 0;
  layer.for_each_linear([&](const Linear& w) { n += uint64_t{w.n_out} * w.n_in; });
  return n;
}

std::vector<uint32_t> all_of(size_t n) {
  std::vector<uint32_t> ids(n);
  std::iota(ids.begin(), ids.end(), 0u);
  return ids;
}

// Parameters of the matrices that go with one unit.
uint64_t cost_of(const Layer& layer, UnitKind kind) {
  const LayerConfig& c = layer.config;
  if (kind == UnitKind::kGroup) return 2 * uint64_t{c.n_group() + 1} * c.d_head * c.n_embd;
  return uint64_t{layer.mlp.gate ? 3u : 2u} * c.n_embd;
}

}  // namespace

StructuredWalk::StructuredWalk(const Engine& engine, std::span<const int32_t> ids, const StructuredOptions& options,
                               const Progress& progress)
    : engine_(engine), ids_(ids), options_(options), progress_(progress), masked_(engine.model->layouts()) {}

void StructuredWalk::run(StructuredReport& report) {
  score(report);
  drop_layers(report);
  choose(report);
  if (options_.compensate) compensate(report);
  for (const Layer& layer : std::as_const(*engine_.model).weights().layers) {
    const KeptUnits& kept = report.layers[layer.config.index];
    report.n_weights_before += n_weights_of(layer);
    if (kept.dropped) continue;
    report.n_weights += n_weights_of(layer) - cost_of(layer, UnitKind::kGroup) * (kept.n_groups - kept.groups.size()) -
                        cost_of(layer, UnitKind::kNeuron) * (kept.n_neurons - kept.neurons.size());
  }
}

// Of each channel of W's inputs: its variance times the squared norm of its column.
std::vector<double> StructuredWalk::channel_scores(const Linear& matrix, const ChannelStats& stats) const {
  HUNCH_CHECK(stats.size() == matrix.n_in, "{} channels of {}", stats.size(), matrix.n_in);
  Matrix W(matrix.n_out, matrix.n_in);
  decode_rows(*engine_.compute, Values(*engine_.compute, matrix).rows(), W.view());
  std::vector<double> scores(W.cols);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; ++c) scores[c] += double(W.row(r)[c]) * W.row(r)[c];
  for (size_t c = 0; c < W.cols; ++c) scores[c] *= stats.variance(c);
  return scores;
}

void StructuredWalk::add_scores(const Layer& layer, const UnitObserver& seen) {
  const LayerConfig& c = layer.config;
  if (options_.heads && can_cut_groups(c)) {
    std::vector<double> channels = channel_scores(*layer.attention.o, seen.heads);
    standardise(channels);
    UnitSet set{c.index, UnitKind::kGroup, std::vector<double>(c.n_kv_head), cost_of(layer, UnitKind::kGroup), 1};
    for (size_t i = 0; i < channels.size(); ++i)
      set.scores[i / c.group_width()] += channels[i] / double(c.group_width());
    sets_.push_back(std::move(set));
  }
  if (options_.neurons && can_cut_neurons(c)) {
    UnitSet set{c.index, UnitKind::kNeuron, channel_scores(*layer.mlp.down, seen.neurons),
                cost_of(layer, UnitKind::kNeuron), options_.multiple};
    standardise(set.scores);
    sets_.push_back(std::move(set));
  }
}

// The model as it is.
void StructuredWalk::score(StructuredReport& report) {
  BlockWalk walk(engine_, ids_, {options_.n_tokens, kWindow});
  report.n_tokens = walk.n_tokens();
  const std::vector<Layer>& layers = std::as_const(*engine_.model).weights().layers;
  for (const Layer& layer : layers) {
    const LayerConfig& c = layer.config;
    KeptUnits units;
    if (can_cut_groups(c)) units.n_groups = c.n_kv_head;
    if (can_cut_neurons(c)) units.n_neurons = c.n_ff;
    units.groups = all_of(units.n_groups);
    units.neurons = all_of(units.n_neurons);
    report.layers.push_back(std::move(units));
    walk.next();
    UnitObserver seen;
    walk.compute(&seen);
    double turned = 0;
    for (size_t w = 0; w < walk.n_windows(); ++w)
      for (size_t t = 0; t < walk.n_window(); ++t)
        turned += 1 - cosine(walk.entering(w).row(t), walk.leaving(w).row(t));
    report.influence.push_back(turned / double(walk.n_tokens()));
    add_scores(layer, seen);
    if (progress_) progress_("scores", c.index + 1, layers.size());
  }
}

void StructuredWalk::drop_layers(StructuredReport& report) {
  std::vector<size_t> order(report.layers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t layer) { return report.influence[layer]; });
  for (size_t i = 0; i < options_.n_dropped; ++i) report.layers[order[i]].dropped = true;
  std::erase_if(sets_, [&](const UnitSet& set) { return report.layers[set.layer].dropped; });
}

void StructuredWalk::choose(StructuredReport& report) {
  if (options_.sparsity == 0) return;
  if (sets_.empty())
    fail(ErrorKind::kUnsupported, "no layer of this model has heads or neurons that can go by themselves");
  const std::vector<std::vector<uint32_t>> kept = choose_units(sets_, {options_.sparsity, options_.uniform});
  for (size_t s = 0; s < sets_.size(); ++s) {
    KeptUnits& layer = report.layers[sets_[s].layer];
    (sets_[s].kind == UnitKind::kGroup ? layer.groups : layer.neurons) = kept[s];
  }
}

// Puts the matrix without the columns of units that go in its place, with their mean in its bias, which is returned.
std::vector<float> StructuredWalk::without(std::unique_ptr<Linear>& slot, const std::vector<uint32_t>& kept,
                                           size_t unit, const ChannelStats& stats) {
  Matrix W(slot->n_out, slot->n_in);
  decode_rows(*engine_.compute, Values(*engine_.compute, *slot).rows(), W.view());
  std::vector<bool> stays(W.cols);
  for (const uint32_t u : kept) std::fill_n(stays.begin() + ptrdiff_t(u * unit), unit, true);
  std::vector<float> bias(slot->bias().begin(), slot->bias().end());
  bias.resize(W.rows);
  for (size_t r = 0; r < W.rows; ++r) {
    double sum = bias[r];
    for (size_t c = 0; c < W.cols; ++c)
      if (!stays[c]) sum += double(W.row(r)[c]) * stats.mean(c), W.row(r)[c] = 0;
    bias[r] = float(sum);
  }
  masked_.put(slot, encode_nearest(*engine_.compute, W, {DType::kF32, {}}), bias);
  return bias;
}

// The model as it will be: each layer is entered by what the pruned ones before it make of the text, and its MLP by
// what its own pruned attention does.
void StructuredWalk::compensate(StructuredReport& report) {
  BlockWalk walk(engine_, ids_, {options_.n_tokens, kWindow});
  for (Layer& layer : engine_.model->weights().layers) {
    const LayerConfig& c = layer.config;
    KeptUnits& kept = report.layers[c.index];
    walk.next();
    if (kept.dropped) {
      std::vector<float> same;
      for (size_t w = 0; w < walk.n_windows(); ++w)
        for (size_t t = 0; t < walk.n_window(); ++t) {
          const std::span<const float> row = walk.entering(w).row(t);
          same.insert(same.end(), row.begin(), row.end());
        }
      walk.go_on_behind(c.index, same);
      continue;
    }
    if (kept.cuts_groups()) {
      UnitObserver seen;
      walk.compute(&seen);
      kept.heads_bias = without(layer.attention.o, kept.groups, c.group_width(), seen.heads);
    }
    UnitObserver seen;
    walk.compute(&seen);
    if (kept.cuts_neurons()) {
      kept.down_bias = without(layer.mlp.down, kept.neurons, 1, seen.neurons);
      if (c.index + 1 < engine_.config().n_layer) walk.compute();
    }
    masked_.clear();
    if (progress_) progress_("biases", c.index + 1, report.layers.size());
  }
}

}  // namespace hunch
