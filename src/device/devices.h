// Devices by their names: "cpu", "vulkan:0", "auto".
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/compute.h"
#include "model/model.h"
#include "model/step_device.h"

namespace hunch {

struct DeviceDescription {
  std::string name;   // "vulkan:0"
  std::string title;  // as its driver calls it
  std::string kind;   // "discrete", "integrated", "virtual", "cpu", "other"
  std::string driver;
  uint64_t memory_bytes = 0, free_bytes = 0;  // free: as the driver says, 0 where the device cannot be used
  double read_gb_per_s = 0;                   // 0: not measured
  std::string problem;                        // why it cannot be used; empty: it can
};

// All devices of this machine beside its processor. Throws Error{kUnsupported} where this hunch was built without
// Vulkan, Error{kNotFound} where the system has no driver, each saying what is missing. `measure`: how fast they read.
std::vector<DeviceDescription> list_devices(bool measure);

// Where a model is computed.
struct DeviceOptions {
  // "cpu", "vulkan:N", or "auto": the first card that computes the model and has room for some of its layers, else cpu.
  std::string name = "cpu";
  // Its last layers that the device computes, with the logits; those before are the processor's. More than there are:
  // all of them. None: all, but of "auto" as many as fit.
  std::optional<size_t> n_layers = {};
  // Of these layers' neurons so large a share, the busiest, the others are the processor's while the device computes
  // its own; 1: all. 0: as many as have both ready at the same time, by what they read per second, and as fit.
  double neurons = 1;
  uint64_t memory_bytes = 0;  // of the device's, that may be planned with; 0: what is free
};

// The model on the device; nullptr: on the processor. `n_ctx`: tokens of context for which "auto" leaves room, and
// advice does. Throws as list_devices(), as ModelOnDevice, with Error{kMemory} proposing a number of layers that fit,
// and Error{kUsage} for another name, or a part for a device where there is none. `frequency`: for whom neurons are
// divided; not known: empty. `model` and `compute` outlive it.
std::shared_ptr<ModelDevice> put_on_device(const DeviceOptions& options, const Model& model,
                                           std::span<const std::span<const float>> frequency, size_t n_ctx,
                                           Compute& compute);

}  // namespace hunch
