#include "device/devices.h"

#include "base/error.h"
#include "device/device_name.h"
#include "device/model_on_device.h"
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
      const auto gpu = std::make_shared<vulkan::Gpu>(info.index);
      device.free_bytes = gpu->free_bytes();
      if (measure) device.read_gb_per_s = vulkan::measure_read_gb_per_s(gpu);
    }
    devices.push_back(device);
  }
  return devices;
}

namespace {

// A processor that plays a card is slower than hunch on the processor.
std::shared_ptr<ModelDevice> put_on_any(const Model& model, Compute& compute) {
  std::vector<vulkan::DeviceInfo> devices;
  try {
    devices = vulkan::Instance().devices();
  } catch (const Error&) {
    return nullptr;
  }
  for (const vulkan::DeviceInfo& info : devices) {
    if (!info.problem.empty() || info.kind == "cpu") continue;
    try {
      return std::make_shared<ModelOnDevice>(model, compute, std::make_shared<vulkan::Gpu>(info.index));
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kInterrupted) throw;
    }
  }
  return nullptr;
}

}  // namespace

std::shared_ptr<ModelDevice> put_on_device(std::string_view name, const Model& model, Compute& compute) {
  const DeviceName device = device_name_from(name);
  if (device.kind == DeviceKind::kCpu) return nullptr;
  if (device.kind == DeviceKind::kAuto) return put_on_any(model, compute);
  return std::make_shared<ModelOnDevice>(model, compute, std::make_shared<vulkan::Gpu>(device.index));
}

}  // namespace hunch
