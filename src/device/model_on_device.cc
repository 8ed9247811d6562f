#include "device/model_on_device.h"

#include "base/error.h"
#include "device/steps_on_device.h"
#include "device/supports.h"
#include "vulkan/bandwidth.h"

namespace hunch {

ModelOnDevice::ModelOnDevice(const Model& model, Compute& compute, std::shared_ptr<vulkan::Gpu> gpu)
    : model_(model), compute_(compute), gpu_(std::move(gpu)), arena_(gpu_) {
  if (const std::string problem = unsupported_by_devices(model); !problem.empty())
    fail(ErrorKind::kUnsupported, "this {} model is not computed on devices yet: it has {}; use the processor, cpu",
         model.config().arch, problem);
  gpu_->require_memory(device_bytes(model), "the model", "use a smaller type of weights, or the processor, cpu");
  vulkan::Uploader uploader(gpu_);
  weights_ = put_weights(model, compute, uploader, arena_);
}

std::shared_ptr<StepDevice> ModelOnDevice::steps(const std::shared_ptr<KvCache>& cache) {
  std::erase_if(steps_, [](const Steps& s) { return s.cache.expired() || s.steps.expired(); });
  for (const Steps& s : steps_)
    if (s.cache.lock() == cache) return s.steps.lock();
  auto steps = std::make_shared<StepsOnDevice>(model_, weights_, cache, gpu_, compute_);
  steps_.push_back({cache, steps});
  return steps;
}

double ModelOnDevice::read_gb_per_s() {
  if (read_gb_per_s_ == 0) read_gb_per_s_ = vulkan::measure_read_gb_per_s(gpu_);
  return read_gb_per_s_;
}

std::string ModelOnDevice::name() const { return fmt::format("vulkan:{} ({})", gpu_->info().index, gpu_->info().name); }

}  // namespace hunch
