// A model's matrices and vectors, copied to a device.
#pragma once
#include <vector>

#include "device/neuron_split.h"
#include "vulkan/kernels.h"

namespace hunch {

// A matrix that products are asked of. Of a down projection that lies by neuron, `by_input` says so and W's rows are
// its inputs.
struct DeviceLinear {
  vulkan::Matrix W;
  vulkan::Piece bias;
  bool by_input = false;
  LinearId id = {};
  explicit operator bool() const { return bool(W); }
};

struct DeviceLayer {
  vulkan::Kernels::Norm attn_norm, ffn_norm, q_norm, k_norm;  // the last two: n = 0 where there are none
  DeviceLinear q, k, v, o, gate, up, down;
  uint32_t n_neurons = 0;  // of its MLP that are here: those of the gate's rows
  uint32_t n_cold = 0;     // and those that are the processor's, which adds W_down's bias too
};

// Of the layers from `first_layer` on; those before it are empty.
struct DeviceWeights {
  size_t first_layer = 0;
  vulkan::Matrix token_embd;                     // none where the processor has the first layers
  vulkan::Piece position_embd;                   // or none
  vulkan::Kernels::Norm embd_norm, output_norm;  // n = 0 where there is none
  DeviceLinear output;
  std::vector<DeviceLayer> layers;
  std::vector<NeuronSplit> split;  // [n_layer] where MLPs are divided, or empty: all neurons are here
};

// "q of layer 3", for messages.
std::string matrix_name(const LinearId& id);

// A matrix of a format that devices read (vulkan/repack.h), repacked on this thread: for small ones.
// `rows`: only these, in their order; empty: all.
vulkan::Matrix put_matrix(const WeightView& W, vulkan::Uploader& uploader, vulkan::DeviceArena& arena,
                          std::span<const uint32_t> rows = {});

// Bytes of the device that put_weights() takes. Throws Error{kUnsupported} naming the matrix whose form or format
// devices do not compute.
uint64_t weight_bytes_on_device(const Model& model, size_t first_layer, std::span<const NeuronSplit> split = {});

// Copies all of them, the model's matrices repacked by `compute`'s threads. `split` [n_layer], or empty: whole MLPs.
// Throws Error{kMemory}.
DeviceWeights put_weights(const Model& model, size_t first_layer, std::vector<NeuronSplit> split, Compute& compute,
                          vulkan::Uploader& uploader, vulkan::DeviceArena& arena);

}  // namespace hunch
