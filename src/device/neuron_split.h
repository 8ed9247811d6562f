// Which neurons of each layer a device has, and which stay with the processor: those that are busy on most tokens
// there, the many that seldom are here (Song et al. 2023, "PowerInfer", arXiv:2312.12456, section 5).
#pragma once
#include <span>
#include <vector>

#include "model/model.h"

namespace hunch {

// Of one layer; each ascending, together all.
struct NeuronSplit {
  std::vector<uint32_t> hot, cold;
};

// How often each neuron is not zero, [n_layer][n_ff], as a sidecar says (SidecarLayer::frequency).
using Frequencies = std::span<const std::span<const float>>;

// Of layers [first_layer, ...) the `share` of all neurons that are busiest on the device, of equals those of earlier
// layers and with smaller ids; nothing of the layers before.
//
// Throws Error{kUnsupported} naming the first layer whose neurons cannot be divided (no MLP of its own, or a down
// projection that does not lie by neuron), Error{kNotFound} for one whose frequencies are not known.
std::vector<NeuronSplit> split_neurons(const Model& model, size_t first_layer, Frequencies frequency, double share);

// The share that has device and processor ready at the same time, where they read so fast: each computes while the
// other does, and what a neuron costs is how often it is read. Throws as split_neurons().
double balanced_share(const Model& model, size_t first_layer, Frequencies frequency, double device_gb_per_s,
                      double host_gb_per_s);
// How fast the processor reads neurons of this model, in 10^9 bytes per second: the best of several products.
double measure_neurons_gb_per_s(const Model& model, Compute& compute);

// Bytes of the layer's matrices that its cold neurons take.
uint64_t cold_bytes(const Layer& layer, const NeuronSplit& split);

// What the processor computes of layers that are divided.
class ColdNeurons {
 public:
  // The references outlive it; one caller at a time.
  ColdNeurons(const Model& model, std::span<const NeuronSplit> split, Compute& compute)
      : model_(model), split_(split), compute_(compute) {}

  // Of the cold neurons, those that a predictor chose for the only token (places among NeuronSplit::cold, ascending),
  // and of these the ones that count: with a magnitude above `live`.
  struct Chosen {
    const std::span<const uint32_t>* places = nullptr;  // none: all
    const float* live = nullptr;                        // none: all
  };
  struct Counts {
    uint64_t n_chosen = 0, n_live = 0;  // summed over tokens
  };
  // y [n_tokens, n_embd] = what these add for tokens whose MLP reads x, with the bias of W_down.
  Counts operator()(size_t layer, MatView<const float> x, const Chosen& chosen, MatView<float> y);

 private:
  const Model& model_;
  std::span<const NeuronSplit> split_;
  Compute& compute_;
  std::vector<Rows> listed_, live_;
  std::vector<TokenTraits> traits_;
};

}  // namespace hunch
