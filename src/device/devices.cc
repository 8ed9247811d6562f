#include "device/devices.h"

#include <algorithm>

#include "base/error.h"
#include "device/device_fit.h"
#include "device/device_name.h"
#include "device/model_on_device.h"
#include "device/supports.h"
#include "vulkan/bandwidth.h"

namespace hunch {

std::vector<DeviceDescription> list_devices(bool measure) {
  std::vector<DeviceDescription> devices;
  for (const vulkan::DeviceInfo& info : vulkan::Instance().devices()) {
    DeviceDescription device{.name = fmt::format("vulkan:{}", info.index),
                             .title = info.name,
                             .kind = info.kind,
                             .driver = info.driver,
                             .memory_bytes = info.memory_bytes,
                             .problem = info.problem};
    if (info.problem.empty()) {
      try {  // others may have all of it
        const auto gpu = std::make_shared<vulkan::Gpu>(info.index);
        device.free_bytes = gpu->free_bytes();
        if (measure) device.read_gb_per_s = vulkan::measure_read_gb_per_s(gpu);
      } catch (const Error& e) {
        device.problem = e.what();
      }
    }
    devices.push_back(device);
  }
  return devices;
}

namespace {

std::shared_ptr<vulkan::Gpu> open(size_t index, const DeviceOptions& options) {
  auto gpu = std::make_shared<vulkan::Gpu>(index);
  gpu->limit_memory(options.memory_bytes);
  return gpu;
}

size_t first_layer_of(size_t n_layers, const Model& model) {
  return model.config().n_layer - std::min(n_layers, model.config().n_layer);
}

std::vector<NeuronSplit> split_for(const DeviceOptions& options, const std::shared_ptr<vulkan::Gpu>& gpu,
                                   const Model& model, size_t first_layer, Frequencies frequency, size_t n_ctx,
                                   Compute& compute) {
  if (options.neurons == 1) return {};
  double share = options.neurons;
  if (share == 0) {
    share = std::min(neurons_that_fit(model, model.config().n_layer - first_layer, gpu->free_bytes(), n_ctx),
                     balanced_share(model, first_layer, frequency, vulkan::measure_read_gb_per_s(gpu),
                                    measure_neurons_gb_per_s(model, compute)));
  }
  return split_neurons(model, first_layer, frequency, std::max(share, 0.0));
}

// A processor that plays a card is slower than hunch on the processor.
std::shared_ptr<ModelDevice> put_on_any(const DeviceOptions& options, const Model& model, Frequencies frequency,
                                        size_t n_ctx, Compute& compute) {
  std::vector<vulkan::DeviceInfo> devices;
  try {
    devices = vulkan::Instance().devices();
  } catch (const Error&) {
    return nullptr;
  }
  if (!options.n_layers && !unsupported_by_devices(model, 0).empty()) return nullptr;
  for (const vulkan::DeviceInfo& info : devices) {
    if (!info.problem.empty() || info.kind == "cpu") continue;
    try {
      const auto gpu = open(info.index, options);
      const bool divides = options.neurons != 1;
      const size_t n = options.n_layers ? *options.n_layers
                       : divides        ? model.config().n_layer
                                        : layers_that_fit(model, gpu->free_bytes(), n_ctx);
      if (n == 0) continue;
      const size_t first = first_layer_of(n, model);
      return std::make_shared<ModelOnDevice>(model, compute, gpu, first,
                                             split_for(options, gpu, model, first, frequency, n_ctx, compute), n_ctx);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kInterrupted) throw;
    }
  }
  return nullptr;
}

}  // namespace

std::shared_ptr<ModelDevice> put_on_device(const DeviceOptions& options, const Model& model, Frequencies frequency,
                                           size_t n_ctx, Compute& compute) {
  const DeviceName device = device_name_from(options.name);
  if (!(options.neurons >= 0 && options.neurons <= 1))
    fail(ErrorKind::kUsage, "a share of neurons (gpu_neurons) of {}, expected 0 to 1", options.neurons);
  if (device.kind == DeviceKind::kCpu &&
      (options.n_layers.value_or(0) > 0 || options.memory_bytes > 0 || options.neurons != 1))
    fail(ErrorKind::kUsage,
         "layers, neurons or memory of a device (gpu_layers, gpu_neurons, gpu_memory), and the device (device) is cpu");
  if (device.kind == DeviceKind::kCpu || options.n_layers == size_t{0}) return nullptr;
  if (device.kind == DeviceKind::kAuto) return put_on_any(options, model, frequency, n_ctx, compute);
  const auto gpu = open(device.index, options);
  const size_t first = first_layer_of(options.n_layers.value_or(SIZE_MAX), model);
  return std::make_shared<ModelOnDevice>(model, compute, gpu, first,
                                         split_for(options, gpu, model, first, frequency, n_ctx, compute), n_ctx);
}

}  // namespace hunch
