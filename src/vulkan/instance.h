// The Vulkan devices of this machine.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "vulkan/api.h"

namespace hunch::vulkan {

// One device, as people and programs name it.
struct DeviceInfo {
  size_t index = 0;                // N of "vulkan:N"
  std::string name, kind, driver;  // kind: "discrete", "integrated", "virtual", "cpu", "other"
  uint64_t memory_bytes = 0;       // of its own heap, the largest
  std::string problem;             // why hunch cannot use it; empty: it can
};

// The connection to the drivers. Shared by devices; its functions may be called from any thread.
class Instance {
 public:
  // `validate`: the layer VK_LAYER_KHRONOS_validation checks every call, and messages() has what it says. Throws
  // Error{kNotFound} where there is no loader, no driver, or not that layer.
  explicit Instance(bool validate = false);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  std::vector<DeviceInfo> devices() const;
  // The device with this index. Throws Error{kNotFound} naming those that are there, Error{kUnsupported} with its
  // problem.
  VkPhysicalDevice device(size_t index) const;

  const InstanceApi& api() const { return api_; }
  // Warnings and errors of the validation layer so far.
  std::vector<std::string> messages() const;

 private:
  std::vector<VkPhysicalDevice> physical_devices() const;
  DeviceInfo describe(size_t index, VkPhysicalDevice device) const;
  static VkBool32 VKAPI_CALL receive(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                     const VkDebugUtilsMessengerCallbackDataEXT* data, void* self);

  InstanceApi api_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  mutable std::mutex mutex_;
  std::vector<std::string> messages_;
};

// The first queue family that computes, if the device has one.
constexpr uint32_t kNoFamily = UINT32_MAX;
uint32_t compute_family(const InstanceApi& api, VkPhysicalDevice device);

}  // namespace hunch::vulkan
