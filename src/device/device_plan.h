// A plan as a device follows it: who chooses neurons and heads, and the predictors' weights there.
#pragma once
#include <optional>
#include <vector>

#include "device/neuron_split.h"
#include "model/plan.h"
#include "vulkan/kernels.h"

namespace hunch {

// Rows that a predictor scores above a threshold.
struct DeviceChoice {
  vulkan::Matrix in, out;  // score = out f(in x) + bias; without `out`: in x + bias
  vulkan::Piece bias;
  bool relu = false;  // f
  float threshold = 0;
  Look look = Look::kHere;
  vulkan::Values hidden, scores;  // of one token; of a static predictor the scores are there for good
  uint32_t n_out = 0;
  bool is_static() const { return !in; }
  uint64_t bytes() const { return in.bytes() + out.bytes() + (is_static() ? n_out * sizeof(float) : 0); }
};

struct DevicePlanLayer {
  // Neurons whose activation's magnitude is at most so much are left out: 0 of those that a ReLU made zero.
  std::optional<float> live;
  std::optional<DeviceChoice> neurons, heads;  // heads: groups that share a key head
};

class DevicePlan {
 public:
  // Copies the predictors that it asks to the device. Throws as require(), and Error{kMemory}. What it says of layers
  // before `first_layer` is the processor's.
  // `split`: as DeviceWeights::split; a divided layer's scores are those of its hot neurons, then of its cold ones.
  DevicePlan(const Plan& plan, size_t first_layer, std::span<const NeuronSplit> split, const ModelConfig& config,
             std::shared_ptr<vulkan::Gpu> gpu);

  // Throws Error{kUnsupported} naming the first selector that devices do not ask. (A screen of the vocabulary may be
  // left out: all logits are right without it. So may late keys: they are computed with their tokens.)
  static void require(const Plan& plan, size_t first_layer);
  // Whether it says anything about a token that is decoded.
  static bool restricts(const Plan& plan, size_t first_layer);
  // Whether this is what `plan` says.
  bool is(const Plan& plan) const;

  const DevicePlanLayer& layer(size_t i) const { return layers_[i]; }

 private:
  // `order` of the scores; empty: as they are.
  std::optional<DeviceChoice> choice(const PlanEntry& entry, std::span<const uint32_t> order,
                                     vulkan::Uploader& uploader);

  Plan plan_;  // keeps the predictors, whose addresses is() compares
  size_t first_layer_;
  vulkan::DeviceArena arena_;
  std::vector<DevicePlanLayer> layers_;
};

}  // namespace hunch
