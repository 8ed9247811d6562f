// A model's weights on a Vulkan device.
#pragma once
#include "device/put_weights.h"
#include "model/step_device.h"

namespace hunch {

class ModelOnDevice final : public ModelDevice {
 public:
  // Copies the weights; `model` and `compute` outlive this. Throws Error{kUnsupported} naming what of the model devices
  // do not compute, Error{kMemory} where it does not fit.
  ModelOnDevice(const Model& model, Compute& compute, std::shared_ptr<vulkan::Gpu> gpu);

  std::shared_ptr<StepDevice> steps(const std::shared_ptr<KvCache>& cache) override;
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
