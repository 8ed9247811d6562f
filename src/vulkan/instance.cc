#include "vulkan/instance.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "io/printable.h"

namespace hunch::vulkan {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

bool has_layer(const LoaderApi& loader, const char* name) {
  uint32_t n = 0;
  check(loader.vkEnumerateInstanceLayerProperties(&n, nullptr), "listing layers");
  std::vector<VkLayerProperties> layers(n);
  check(loader.vkEnumerateInstanceLayerProperties(&n, layers.data()), "listing layers");
  return std::ranges::any_of(layers, [&](const auto& l) { return std::strcmp(l.layerName, name) == 0; });
}

bool has_extension(const LoaderApi& loader, const char* name) {
  uint32_t n = 0;
  check(loader.vkEnumerateInstanceExtensionProperties(nullptr, &n, nullptr), "listing extensions");
  std::vector<VkExtensionProperties> extensions(n);
  check(loader.vkEnumerateInstanceExtensionProperties(nullptr, &n, extensions.data()), "listing extensions");
  return std::ranges::any_of(extensions, [&](const auto& e) { return std::strcmp(e.extensionName, name) == 0; });
}

const char* kind_of(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return "cpu";
    default: return "other";
  }
}

}  // namespace

uint32_t compute_family(const InstanceApi& api, VkPhysicalDevice device) {
  uint32_t n = 0;
  api.vkGetPhysicalDeviceQueueFamilyProperties(device, &n, nullptr);
  std::vector<VkQueueFamilyProperties> families(n);
  api.vkGetPhysicalDeviceQueueFamilyProperties(device, &n, families.data());
  for (uint32_t i = 0; i < n; ++i)
    if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) return i;
  return kNoFamily;
}

Instance::Instance(bool validate) {
  const LoaderApi loader = load_api();
  VkApplicationInfo app{};
  app.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  app.pApplicationName = "hunch";
  app.apiVersion = VK_API_VERSION_1_2;
  std::vector<const char*> layers, extensions;
  if (validate) {
    if (!has_layer(loader, kValidationLayer))
      fail(ErrorKind::kNotFound, "the layer {} is missing (Debian's package vulkan-validationlayers)",
           kValidationLayer);
    layers.push_back(kValidationLayer);
    extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
  }
  VkInstanceCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  // Drivers that leave out parts of Vulkan, as MoltenVK does, are listed too.
  if (has_extension(loader, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) {
    extensions.push_back(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME);
    create.flags = VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
  }
  create.pApplicationInfo = &app;
  create.enabledLayerCount = uint32_t(layers.size());
  create.ppEnabledLayerNames = layers.data();
  create.enabledExtensionCount = uint32_t(extensions.size());
  create.ppEnabledExtensionNames = extensions.data();
  check(loader.vkCreateInstance(&create, nullptr, &instance_), "opening it");
  api_ = load_api(loader, instance_);
  if (!validate) return;
  HUNCH_CHECK(api_.vkCreateDebugUtilsMessengerEXT && api_.vkDestroyDebugUtilsMessengerEXT, "no debug messenger");
  VkDebugUtilsMessengerCreateInfoEXT messenger{};
  messenger.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  messenger.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  messenger.messageType =
      VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  messenger.pfnUserCallback = receive;
  messenger.pUserData = this;
  check(api_.vkCreateDebugUtilsMessengerEXT(instance_, &messenger, nullptr, &messenger_), "listening to its checks");
}

Instance::~Instance() {
  if (messenger_) api_.vkDestroyDebugUtilsMessengerEXT(instance_, messenger_, nullptr);
  if (instance_ && api_.vkDestroyInstance) api_.vkDestroyInstance(instance_, nullptr);
}

VkBool32 VKAPI_CALL Instance::receive(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                      const VkDebugUtilsMessengerCallbackDataEXT* data, void* self) {
  Instance& instance = *static_cast<Instance*>(self);
  const std::lock_guard lock(instance.mutex_);
  instance.messages_.emplace_back(data->pMessage);
  return VK_FALSE;
}

std::vector<std::string> Instance::messages() const {
  const std::lock_guard lock(mutex_);
  return messages_;
}

std::vector<VkPhysicalDevice> Instance::physical_devices() const {
  uint32_t n = 0;
  check(api_.vkEnumeratePhysicalDevices(instance_, &n, nullptr), "listing devices");
  std::vector<VkPhysicalDevice> devices(n);
  check(api_.vkEnumeratePhysicalDevices(instance_, &n, devices.data()), "listing devices");
  devices.resize(n);
  return devices;
}

DeviceInfo Instance::describe(size_t index, VkPhysicalDevice device) const {
  VkPhysicalDeviceSubgroupProperties subgroup{};
  subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  VkPhysicalDeviceDriverProperties driver{};
  driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
  driver.pNext = &subgroup;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &driver;
  api_.vkGetPhysicalDeviceProperties2(device, &properties);
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  api_.vkGetPhysicalDeviceMemoryProperties2(device, &memory);

  DeviceInfo info;
  info.index = index;
  info.name = printable(properties.properties.deviceName);
  info.kind = kind_of(properties.properties.deviceType);
  info.driver = printable(fmt::format("{} {}", driver.driverName, driver.driverInfo));
  for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i)
    if (const VkMemoryHeap& heap = memory.memoryProperties.memoryHeaps[i]; heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      info.memory_bytes = std::max<uint64_t>(info.memory_bytes, heap.size);
  if (properties.properties.apiVersion < VK_API_VERSION_1_2) {
    info.problem = fmt::format("its driver knows Vulkan {}.{}, expected 1.2 or newer",
                               VK_API_VERSION_MAJOR(properties.properties.apiVersion),
                               VK_API_VERSION_MINOR(properties.properties.apiVersion));
    return info;
  }
  VkPhysicalDeviceVulkan12Features features12{};
  features12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &features12;
  api_.vkGetPhysicalDeviceFeatures2(device, &features);
  constexpr VkSubgroupFeatureFlags kSums = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
  if (compute_family(api_, device) == kNoFamily)
    info.problem = "it has no queue that computes";
  else if (!features12.bufferDeviceAddress)
    info.problem = "its driver lacks bufferDeviceAddress";
  else if ((subgroup.supportedOperations & kSums) != kSums || !(subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
    info.problem = "its driver lacks sums over subgroups";
  else if (subgroup.subgroupSize < 4)
    info.problem = fmt::format("its subgroups are of {}, expected 4 or more", subgroup.subgroupSize);
  return info;
}

std::vector<DeviceInfo> Instance::devices() const {
  std::vector<DeviceInfo> infos;
  const std::vector<VkPhysicalDevice> devices = physical_devices();
  for (size_t i = 0; i < devices.size(); ++i) infos.push_back(describe(i, devices[i]));
  return infos;
}

VkPhysicalDevice Instance::device(size_t index) const {
  const std::vector<VkPhysicalDevice> devices = physical_devices();
  if (devices.empty())
    fail(ErrorKind::kNotFound,
         "there is no Vulkan device: no driver was found (Debian: mesa-vulkan-drivers, or the card's own)");
  if (index >= devices.size())
    fail(ErrorKind::kNotFound, "there is no device vulkan:{}, only vulkan:0{} (`hunch devices` lists them)", index,
         devices.size() > 1 ? fmt::format(" to vulkan:{}", devices.size() - 1) : "");
  if (const DeviceInfo info = describe(index, devices[index]); !info.problem.empty())
    fail(ErrorKind::kUnsupported, "the device vulkan:{} ({}) cannot be used: {}", index, info.name, info.problem);
  return devices[index];
}

}  // namespace hunch::vulkan
