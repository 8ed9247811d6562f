// Of a build without Vulkan.
#include "base/error.h"
#include "device/device_name.h"
#include "device/devices.h"

namespace hunch {
namespace {

constexpr const char* kMissing =
    "this hunch was built without Vulkan: its build found no Vulkan headers or no glslangValidator (Debian: "
    "libvulkan-dev and glslang-tools), or HUNCH_VULKAN was off";

}  // namespace

std::vector<DeviceDescription> list_devices(bool) { fail(ErrorKind::kUnsupported, "{}", kMissing); }

std::shared_ptr<ModelDevice> put_on_device(const DeviceOptions& options, const Model&,
                                           std::span<const std::span<const float>>, size_t, Compute&) {
  if (device_name_from(options.name).kind == DeviceKind::kVulkan) fail(ErrorKind::kUnsupported, "{}", kMissing);
  return nullptr;
}

}  // namespace hunch
