// Vulkan's functions, looked up in the loader (libvulkan.so.1) when a device is asked for: a program that never asks
// runs where there is none.
#pragma once
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

namespace hunch::vulkan {

#define HUNCH_VULKAN_GLOBAL(each) \
  each(vkCreateInstance) each(vkEnumerateInstanceExtensionProperties) each(vkEnumerateInstanceLayerProperties)

#define HUNCH_VULKAN_INSTANCE(each)                                                                   \
  each(vkDestroyInstance) each(vkEnumeratePhysicalDevices) each(vkEnumerateDeviceExtensionProperties) \
      each(vkGetPhysicalDeviceProperties2) each(vkGetPhysicalDeviceFeatures2)                         \
          each(vkGetPhysicalDeviceMemoryProperties2) each(vkGetPhysicalDeviceQueueFamilyProperties)   \
              each(vkCreateDevice) each(vkGetDeviceProcAddr)

#define HUNCH_VULKAN_DEVICE(each)                                                                                      \
  each(vkDestroyDevice) each(vkGetDeviceQueue) each(vkDeviceWaitIdle) each(vkQueueSubmit) each(vkCreateFence)          \
      each(vkDestroyFence) each(vkWaitForFences) each(vkResetFences) each(vkCreateBuffer) each(vkDestroyBuffer)        \
          each(vkGetBufferMemoryRequirements) each(vkBindBufferMemory) each(vkGetBufferDeviceAddress)                  \
              each(vkAllocateMemory) each(vkFreeMemory) each(vkMapMemory) each(vkCreateCommandPool)                    \
                  each(vkDestroyCommandPool) each(vkAllocateCommandBuffers) each(vkFreeCommandBuffers)                 \
                      each(vkBeginCommandBuffer) each(vkEndCommandBuffer) each(vkCmdPipelineBarrier)                   \
                          each(vkCmdCopyBuffer) each(vkCmdFillBuffer) each(vkCmdBindPipeline) each(vkCmdPushConstants) \
                              each(vkCmdDispatch) each(vkCreateShaderModule) each(vkDestroyShaderModule)               \
                                  each(vkCreatePipelineLayout) each(vkDestroyPipelineLayout)                           \
                                      each(vkCreateComputePipelines) each(vkDestroyPipeline)                           \
                                          each(vkCreatePipelineCache) each(vkDestroyPipelineCache)                     \
                                              each(vkGetPipelineCacheData)

#define HUNCH_VULKAN_MEMBER(name) PFN_##name name = nullptr;

// Those that need no instance. Throws Error{kNotFound} where the system has no Vulkan loader.
struct LoaderApi {
  PFN_vkGetInstanceProcAddr vkGetInstanceProcAddr = nullptr;
  HUNCH_VULKAN_GLOBAL(HUNCH_VULKAN_MEMBER)
};
LoaderApi load_api();

struct InstanceApi {
  HUNCH_VULKAN_INSTANCE(HUNCH_VULKAN_MEMBER)
  // Of VK_EXT_debug_utils, where that is enabled.
  PFN_vkCreateDebugUtilsMessengerEXT vkCreateDebugUtilsMessengerEXT = nullptr;
  PFN_vkDestroyDebugUtilsMessengerEXT vkDestroyDebugUtilsMessengerEXT = nullptr;
};
InstanceApi load_api(const LoaderApi& loader, VkInstance instance);

struct DeviceApi {
  HUNCH_VULKAN_DEVICE(HUNCH_VULKAN_MEMBER)
};
DeviceApi load_api(const InstanceApi& api, VkDevice device);

#undef HUNCH_VULKAN_MEMBER

// Throws where `result` says that `what` failed: Error{kMemory} for memory, else Error{kIo}, naming both.
void check(VkResult result, const char* what);

}  // namespace hunch::vulkan
