// Devices by their names: "cpu", "vulkan:0", "auto".
#pragma once
#include <memory>
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

// The model on the device of this name. "cpu": none. "auto": on the first card that has room for it and computes it,
// else none. Throws as list_devices(), as ModelOnDevice, and Error{kUsage} for another name. `model` and `compute`
// outlive it.
std::shared_ptr<ModelDevice> put_on_device(std::string_view name, const Model& model, Compute& compute);

}  // namespace hunch
