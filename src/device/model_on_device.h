// A model's weights, or those of its last layers, on a Vulkan device.
#pragma once
#include "device/put_weights.h"
#include "model/step_device.h"

namespace hunch {

class ModelOnDevice final : public ModelDevice {
 public:
  // Copies the weights of layers [first_layer, ...), of their MLPs those that `split` has there (DeviceWeights::split);
  // `model` and `compute` outlive this. Throws Error{kUnsupported}
  // naming what of the model devices do not compute, Error{kMemory} where it does not fit, with how many layers would
  // beside a context of n_ctx tokens.
  ModelOnDevice(const Model& model, Compute& compute, std::shared_ptr<vulkan::Gpu> gpu, size_t first_layer = 0,
                std::vector<NeuronSplit> split = {}, size_t n_ctx = 4096);

  std::shared_ptr<StepDevice> steps(const std::shared_ptr<KvCache>& cache) override;
  size_t first_layer() const override { return weights_.first_layer; }
  std::string name() const override;
  double read_gb_per_s() override;

 private:
  struct Steps {
    std::weak_ptr<KvCache> cache;
    std::weak_ptr<StepDevice> steps;
  };
  const Model& model_;
  Compute& compute_;
  std::shared_ptr<vulkan::Gpu> gpu_;
  vulkan::DeviceArena arena_;
  DeviceWeights weights_;
  std::vector<Steps> steps_;
  double read_gb_per_s_ = 0;  // 0: not measured yet
};

}  // namespace hunch
