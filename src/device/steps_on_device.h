// The steps of one cache on a device.
#pragma once
#include <map>

#include "device/step_program.h"
#include "model/step_device.h"

namespace hunch {

class StepsOnDevice final : public StepDevice {
 public:
  // Pages for which the device has no room lie in memory of the host. Throws as StepBuffers, Error{kMemory} where there
  // is no room for them either. Model, weights and `compute` outlive it.
  StepsOnDevice(const Model& model, const DeviceWeights& weights, std::shared_ptr<KvCache> cache,
                std::shared_ptr<vulkan::Gpu> gpu, Compute& compute);

  void require(const StepInput& input) const override;
  size_t first_layer() const override { return weights_.first_layer; }
  void run(const StepInput& input, MatView<const float> stream, MatView<float> logits, StepStats& stats) override;

  const DeviceKv& kv() const { return kv_; }

 private:
  // Consecutive tokens of the step that one program computes.
  struct Part {
    size_t first_token = 0, n_tokens = 0;
    const DevicePlan* plan = nullptr;
    const DeviceAdapter* adapter = nullptr;
  };
  std::vector<Part> parts_of(const StepInput& input);
  const DevicePlan* plan_of(const Run& run);
  const DeviceAdapter* adapter_of(const Run& run);
  void forget_old();
  void copy_pages();
  size_t write_inputs(const StepInput& input, MatView<const float> stream, const Part& part,
                      std::span<const uint32_t> rows);
  uint32_t n_best(const StepInput& input, std::span<const uint32_t> rows) const;
  void read_logits(const StepShape& shape, MatView<float> logits) const;
  StepProgram& program(const StepShape& shape);
  void compute_cold(const Part& part, size_t layer);
  void count(const Part& part, const StepShape& shape, StepStats& stats) const;

  const Model& model_;
  const DeviceWeights& weights_;
  const std::shared_ptr<KvCache> cache_;
  const std::shared_ptr<vulkan::Gpu> gpu_;
  Compute& compute_;  // whose calls may be stopped, and who computes cold neurons
  DeviceKv kv_;
  vulkan::DeviceArena arena_, far_;
  std::unique_ptr<StepBuffers> buffers_;
  std::unique_ptr<vulkan::HostBlock> upload_, download_;
  ColdNeurons cold_;
  std::vector<ColdNeurons::Counts> cold_counts_;  // [n_layer], of the present part
  std::vector<std::unique_ptr<DevicePlan>> plans_;
  std::vector<std::unique_ptr<DeviceAdapter>> adapters_;
  std::map<StepShape, std::unique_ptr<StepProgram>> programs_;
};

}  // namespace hunch
