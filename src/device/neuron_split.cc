#include "device/neuron_split.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "model/ops.h"

namespace hunch {
namespace {

void require_divisible(const Layer& layer) {
  const auto refuse = [&](const char* what) {
    fail(ErrorKind::kUnsupported,
         "the neurons of layer {} cannot be divided between a device and the processor (gpu_neurons): {}",
         layer.config.index, what);
  };
  if (!layer.config.has_mlp() || layer.config.has_experts()) refuse("it has no MLP of its own");
  if (!layer.mlp.down->by_input())
    refuse("its down projection does not lie by neuron, as those of ReLU models in f32, f16 and bf16 do");
}

struct Neuron {
  float frequency;
  uint32_t layer, id;
};

// Of layers [first_layer, ...), the busiest first.
std::vector<Neuron> by_frequency(const Model& model, size_t first_layer, Frequencies frequency) {
  std::vector<Neuron> all;
  for (const Layer& layer : std::span(model.weights().layers).subspan(first_layer)) {
    require_divisible(layer);
    const size_t l = layer.config.index;
    if (l >= frequency.size() || frequency[l].size() != layer.mlp.n_ff)
      fail(ErrorKind::kNotFound,
           "how often the neurons of layer {} are active is not known (gpu_neurons): a sidecar that `hunch sparsify` "
           "makes of this model says so",
           l);
    for (uint32_t i = 0; i < frequency[l].size(); ++i) all.push_back({frequency[l][i], uint32_t(l), i});
  }
  std::ranges::stable_sort(all, std::greater<float>(), &Neuron::frequency);
  return all;
}

}  // namespace

std::vector<NeuronSplit> split_neurons(const Model& model, size_t first_layer, Frequencies frequency, double share) {
  const std::vector<Neuron> all = by_frequency(model, first_layer, frequency);
  const size_t n_hot = size_t(std::llround(share * double(all.size())));
  std::vector<NeuronSplit> split(model.config().n_layer);
  for (size_t i = 0; i < all.size(); ++i)
    (i < n_hot ? split[all[i].layer].hot : split[all[i].layer].cold).push_back(all[i].id);
  for (NeuronSplit& s : split) {
    std::ranges::sort(s.hot);
    std::ranges::sort(s.cold);
  }
  return split;
}

double balanced_share(const Model& model, size_t first_layer, Frequencies frequency, double device_gb_per_s,
                      double host_gb_per_s) {
  const std::vector<Neuron> all = by_frequency(model, first_layer, frequency);
  double total = 0, hot = 0;
  for (const Neuron& neuron : all) total += double(neuron.frequency);
  const double wanted = total * device_gb_per_s / (device_gb_per_s + host_gb_per_s);
  size_t n = 0;
  while (n < all.size() && hot < wanted) hot += double(all[n++].frequency);
  return double(n) / double(std::max<size_t>(all.size(), 1));
}

double measure_neurons_gb_per_s(const Model& model, Compute& compute) {
  constexpr size_t kTries = 3;
  double best = 0;
  for (size_t i = 0; i < kTries; ++i) {
    double bytes = 0;
    const Timer timer;
    for (const Layer& layer : model.weights().layers) {
      if (!layer.config.has_mlp()) continue;
      const Arena::Scope scope(compute.arena);
      const auto take = [&](size_t n) { return MatView<float>(compute.arena.take<float>(n).data(), 1, n); };
      const MatView<float> x = take(layer.mlp.up->n_in), y = take(layer.mlp.up->n_out);
      std::ranges::fill(x.row(0), 0.5f);
      const TokenTraits traits;
      layer.mlp.up->dot(compute, {&traits, 1}, x, {}, y);
      bytes += double(layer.mlp.up->bytes());
    }
    best = std::max(best, bytes / timer.seconds() / 1e9);
  }
  return best;
}

uint64_t cold_bytes(const Layer& layer, const NeuronSplit& split) {
  uint64_t bytes = 0;
  for (const auto* linear : {&layer.mlp.gate, &layer.mlp.up, &layer.mlp.down})
    if (*linear) bytes += (*linear)->bytes();
  return bytes * split.cold.size() / layer.mlp.n_ff;
}

ColdNeurons::Counts ColdNeurons::operator()(size_t layer, MatView<const float> x, const Chosen& chosen,
                                            MatView<float> y) {
  const Arena::Scope scope(compute_.arena);
  const Layer& l = model_.weights().layers[layer];
  const size_t n = x.rows, n_ff = l.mlp.n_ff;
  const std::vector<uint32_t>& cold = split_[layer].cold;
  if (listed_.size() < n) listed_.resize(n), live_.resize(n);
  traits_.assign(n, {});
  for (size_t t = 0; t < n; ++t) {
    std::vector<uint32_t>& ids = listed_[t].refill(n_ff);
    if (chosen.places) {
      for (const uint32_t place : *chosen.places) ids.push_back(cold[place]);
    } else {
      ids.assign(cold.begin(), cold.end());
    }
  }
  const RowSet listed{std::span(listed_).first(n)};
  const auto take = [&] { return MatView<float>(compute_.arena.take<float>(n * n_ff).data(), n, n_ff); };
  const MatView<float> act = take();
  (l.mlp.gate ? *l.mlp.gate : *l.mlp.up).dot(compute_, traits_, x, listed, act);
  activate_rows(compute_, l.config, act);  // maps 0 to 0: what is left out stays zero
  RowSet live = listed;
  if (chosen.live) {
    for (size_t t = 0; t < n; ++t) {
      std::vector<uint32_t>& ids = live_[t].refill(n_ff);
      for (const uint32_t id : listed_[t].ids())
        if (!(std::abs(act.row(t)[id]) <= *chosen.live)) ids.push_back(id);
    }
    live = {std::span(live_).first(n)};
  }
  if (l.mlp.gate) {
    const MatView<float> ups = take();
    l.mlp.up->dot(compute_, traits_, x, live, ups);
    multiply_rows(compute_, l.config, ups, act);
  }
  l.mlp.down->add(compute_, traits_, act, live, y);
  return {listed.count(n, n_ff), live.count(n, n_ff)};
}

}  // namespace hunch
