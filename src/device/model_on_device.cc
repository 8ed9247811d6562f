#include "device/model_on_device.h"

#include "base/error.h"
#include "device/device_fit.h"
#include "device/steps_on_device.h"
#include "device/supports.h"
#include "vulkan/bandwidth.h"

namespace hunch {
namespace {

// What to do where it has no room for what is wanted.
std::string advice_for(const vulkan::Gpu& gpu, const Model& model, size_t n_ctx) {
  const std::string others = "use a smaller type of weights, or the processor, cpu";
  const size_t n = layers_that_fit(model, gpu.free_bytes(), n_ctx);
  if (n == 0) return others;
  return fmt::format(
      "with a context of {} tokens the last {} of its {} layers fit: have it compute {} (gpu_layers), {}", n_ctx, n,
      model.config().n_layer, n, others);
}

}  // namespace

ModelOnDevice::ModelOnDevice(const Model& model, Compute& compute, std::shared_ptr<vulkan::Gpu> gpu, size_t first_layer,
                             std::vector<NeuronSplit> split, size_t n_ctx)
    : model_(model), compute_(compute), gpu_(std::move(gpu)), arena_(gpu_) {
  if (const std::string problem = unsupported_by_devices(model, first_layer); !problem.empty())
    fail(ErrorKind::kUnsupported, "this {} model is not computed on devices yet: it has {}; use the processor, cpu",
         model.config().arch, problem);
  gpu_->require_memory(weight_bytes_on_device(model, first_layer, split),
                       first_layer == 0
                           ? "the model"
                           : fmt::format("that part of the model ({} layers)", model.config().n_layer - first_layer),
                       advice_for(*gpu_, model, n_ctx));
  vulkan::Uploader uploader(gpu_);
  weights_ = put_weights(model, first_layer, std::move(split), compute, uploader, arena_);
}

std::shared_ptr<StepDevice> ModelOnDevice::steps(const std::shared_ptr<KvCache>& cache) {
  std::erase_if(steps_, [](const Steps& s) { return s.cache.expired() || s.steps.expired(); });
  for (const Steps& s : steps_)
    if (s.cache.lock() == cache) return s.steps.lock();
  auto steps = std::make_shared<StepsOnDevice>(model_, weights_, cache, gpu_, compute_);
  steps_.push_back({cache, steps});
  return steps;
}

std::string ModelOnDevice::name() const {
  std::string name = fmt::format("vulkan:{} ({})", gpu_->info().index, gpu_->info().name);
  const size_t n_layer = model_.config().n_layer;
  if (first_layer() > 0) name += fmt::format(", {} of {} layers", n_layer - first_layer(), n_layer);
  if (weights_.split.empty()) return name;
  size_t n_here = 0, n = 0;
  for (const DeviceLayer& l : weights_.layers) n_here += l.n_neurons, n += l.n_neurons + l.n_cold;
  return fmt::format("{}, {:.1f} % of the neurons", name, 100 * double(n_here) / double(n));
}

double ModelOnDevice::read_gb_per_s() {
  if (read_gb_per_s_ == 0) read_gb_per_s_ = vulkan::measure_read_gb_per_s(gpu_);
  return read_gb_per_s_;
}

}  // namespace hunch
