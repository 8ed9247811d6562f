#include "vulkan/api.h"

#include <dlfcn.h>

#include "base/error.h"

namespace hunch::vulkan {

LoaderApi load_api() {
  static void* const library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);  // never closed: drivers keep threads
  if (!library)
    fail(ErrorKind::kNotFound,
         "no Vulkan on this system: libvulkan.so.1 is missing (Debian's package libvulkan1, and the card's driver)");
  LoaderApi api;
  api.vkGetInstanceProcAddr = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  if (!api.vkGetInstanceProcAddr) fail(ErrorKind::kNotFound, "libvulkan.so.1 has no vkGetInstanceProcAddr");
#define HUNCH_LOOK_UP(name)                                                                  \
  api.name = reinterpret_cast<PFN_##name>(api.vkGetInstanceProcAddr(VK_NULL_HANDLE, #name)); \
  if (!api.name) fail(ErrorKind::kUnsupported, "the Vulkan loader has no " #name);
  HUNCH_VULKAN_GLOBAL(HUNCH_LOOK_UP)
#undef HUNCH_LOOK_UP
  return api;
}

InstanceApi load_api(const LoaderApi& loader, VkInstance instance) {
  InstanceApi api;
#define HUNCH_LOOK_UP(name) api.name = reinterpret_cast<PFN_##name>(loader.vkGetInstanceProcAddr(instance, #name));
  HUNCH_VULKAN_INSTANCE(HUNCH_LOOK_UP)
  HUNCH_LOOK_UP(vkCreateDebugUtilsMessengerEXT)
  HUNCH_LOOK_UP(vkDestroyDebugUtilsMessengerEXT)
#undef HUNCH_LOOK_UP
#define HUNCH_REQUIRE(name) \
  if (!api.name) fail(ErrorKind::kUnsupported, "the Vulkan driver has no " #name ": it is older than Vulkan 1.2");
  HUNCH_VULKAN_INSTANCE(HUNCH_REQUIRE)
#undef HUNCH_REQUIRE
  return api;
}

DeviceApi load_api(const InstanceApi& instance, VkDevice device) {
  DeviceApi api;
#define HUNCH_LOOK_UP(name)                                                             \
  api.name = reinterpret_cast<PFN_##name>(instance.vkGetDeviceProcAddr(device, #name)); \
  if (!api.name) fail(ErrorKind::kUnsupported, "the Vulkan driver has no " #name ": it is older than Vulkan 1.2");
  HUNCH_VULKAN_DEVICE(HUNCH_LOOK_UP)
#undef HUNCH_LOOK_UP
  return api;
}

namespace {

const char* text_of(VkResult result) {
  switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "the driver has no memory of this machine left";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "the device has no memory left, perhaps others use it";
    case VK_ERROR_DEVICE_LOST: return "the device was lost: the driver reset it, or it was taken out";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "there is no Vulkan driver (Debian: mesa-vulkan-drivers, or the card's)";
    case VK_ERROR_INITIALIZATION_FAILED: return "the driver could not be started";
    case VK_ERROR_LAYER_NOT_PRESENT: return "a layer is missing (Debian: vulkan-validationlayers)";
    case VK_ERROR_EXTENSION_NOT_PRESENT: return "the driver lacks an extension";
    case VK_ERROR_FEATURE_NOT_PRESENT: return "the driver lacks a feature";
    case VK_ERROR_TOO_MANY_OBJECTS: return "too many allocations";
    default: return "the driver refused";
  }
}

}  // namespace

void check(VkResult result, const char* what) {
  if (result >= VK_SUCCESS) return;
  const bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
  const bool missing = result == VK_ERROR_INCOMPATIBLE_DRIVER || result == VK_ERROR_LAYER_NOT_PRESENT;
  fail(memory    ? ErrorKind::kMemory
       : missing ? ErrorKind::kNotFound
                 : ErrorKind::kIo,
       "Vulkan, {}: {} ({})", what, text_of(result), int(result));
}

}  // namespace hunch::vulkan
