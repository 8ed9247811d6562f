#include "vulkan/gpu.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace hunch::vulkan {
namespace {

std::string size_text(uint64_t bytes) {
  return bytes < 1'000'000'000 ? fmt::format("{:.1f} MB", double(bytes) / 1e6)
                               : fmt::format("{:.1f} GB", double(bytes) / 1e9);
}

constexpr uint32_t kPushBytes = 128;  // every device has so many

// Shaders that share work out by the size of a subgroup.
bool goes_by_subgroups(std::string_view shader) {
  for (const std::string_view name : {"matvec", "norm", "attention", "argmax"})
    if (shader.starts_with(name)) return true;
  return false;
}

bool has_device_extension(const InstanceApi& api, VkPhysicalDevice device, const char* name) {
  uint32_t n = 0;
  check(api.vkEnumerateDeviceExtensionProperties(device, nullptr, &n, nullptr), "listing extensions");
  std::vector<VkExtensionProperties> extensions(n);
  check(api.vkEnumerateDeviceExtensionProperties(device, nullptr, &n, extensions.data()), "listing extensions");
  return std::ranges::any_of(extensions, [&](const auto& e) { return std::strcmp(e.extensionName, name) == 0; });
}

}  // namespace

Gpu::Gpu(size_t index, bool validate) : instance_(validate) {
  physical_ = instance_.device(index);
  info_ = instance_.devices()[index];
  try {
    open(physical_);
  } catch (...) {
    close();
    throw;
  }
}

Gpu::~Gpu() {
  save_pipeline_cache();
  close();
}

void Gpu::open(VkPhysicalDevice physical) {
  const InstanceApi& instance = instance_.api();
  VkPhysicalDeviceMaintenance3Properties limits{};
  limits.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  VkPhysicalDeviceSubgroupProperties subgroup{};
  subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  subgroup.pNext = &limits;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &subgroup;
  instance.vkGetPhysicalDeviceProperties2(physical, &properties);
  most_bytes_ = limits.maxMemoryAllocationSize;
  subgroup_size_ = subgroup.subgroupSize;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  instance.vkGetPhysicalDeviceMemoryProperties2(physical, &memory);
  memory_ = memory.memoryProperties;
  const VkPhysicalDeviceProperties& p = properties.properties;
  cache_name_ = fmt::format("vulkan-{:04x}-{:04x}-{:08x}-", p.vendorID, p.deviceID, p.driverVersion);
  for (const uint8_t byte : p.pipelineCacheUUID) cache_name_ += fmt::format("{:02x}", byte);

  std::vector<const char*> extensions;
  says_budget_ = has_device_extension(instance, physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  if (says_budget_) extensions.push_back(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  if (has_device_extension(instance, physical, "VK_KHR_portability_subset"))  // then it must be asked for
    extensions.push_back("VK_KHR_portability_subset");
  const float priority = 1;
  const uint32_t family = compute_family(instance, physical);
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkPhysicalDeviceVulkan12Features features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  features.bufferDeviceAddress = VK_TRUE;
  // Where a driver may leave subgroups half empty, it is told not to.
  VkPhysicalDeviceSubgroupSizeControlFeaturesEXT control{};
  control.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT;
  if (has_device_extension(instance, physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) {
    VkPhysicalDeviceFeatures2 all{};
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    all.pNext = &control;
    instance.vkGetPhysicalDeviceFeatures2(physical, &all);
    fills_subgroups_ = control.computeFullSubgroups;
    if (fills_subgroups_) {
      extensions.push_back(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
      control.subgroupSizeControl = VK_FALSE;
      features.pNext = &control;
    }
  }
  VkDeviceCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  create.pNext = &features;
  create.queueCreateInfoCount = 1;
  create.pQueueCreateInfos = &queue;
  create.enabledExtensionCount = uint32_t(extensions.size());
  create.ppEnabledExtensionNames = extensions.data();
  check(instance.vkCreateDevice(physical, &create, nullptr, &device_), "opening the device");
  api_ = load_api(instance, device_);
  api_.vkGetDeviceQueue(device_, family, 0, &queue_);

  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.queueFamilyIndex = family;
  check(api_.vkCreateCommandPool(device_, &pool, nullptr, &pool_), "making a command pool");
  VkFenceCreateInfo fence{};
  fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  check(api_.vkCreateFence(device_, &fence, nullptr, &fence_), "making a fence");
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkPipelineLayoutCreateInfo layout{};
  layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &range;
  check(api_.vkCreatePipelineLayout(device_, &layout, nullptr, &layout_), "making a pipeline layout");
  load_pipeline_cache();
}

void Gpu::close() {
  if (!device_) return;
  if (api_.vkDeviceWaitIdle) api_.vkDeviceWaitIdle(device_);
  for (const auto& [name, pipeline] : pipelines_) api_.vkDestroyPipeline(device_, pipeline, nullptr);
  if (cache_) api_.vkDestroyPipelineCache(device_, cache_, nullptr);
  if (layout_) api_.vkDestroyPipelineLayout(device_, layout_, nullptr);
  if (fence_) api_.vkDestroyFence(device_, fence_, nullptr);
  if (pool_) api_.vkDestroyCommandPool(device_, pool_, nullptr);
  if (api_.vkDestroyDevice) api_.vkDestroyDevice(device_, nullptr);
  device_ = VK_NULL_HANDLE;
}

VkPipeline Gpu::pipeline(std::string_view shader, uint32_t tokens) {
  VkPipeline& pipeline = pipelines_[{std::string(shader), tokens}];
  if (pipeline) return pipeline;
  const std::span<const uint32_t> words = shader_words(shader);
  HUNCH_CHECK(!words.empty(), "no shader '{}'", shader);
  VkShaderModuleCreateInfo code{};
  code.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  code.codeSize = words.size_bytes();
  code.pCode = words.data();
  VkShaderModule module = VK_NULL_HANDLE;
  check(api_.vkCreateShaderModule(device_, &code, nullptr, &module), "loading a shader");
  const VkSpecializationMapEntry entry{0, 0, sizeof tokens};
  const VkSpecializationInfo constants{1, &entry, sizeof tokens, &tokens};
  VkComputePipelineCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  create.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  if (fills_subgroups_ && goes_by_subgroups(shader))
    create.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT;
  create.stage.module = module;
  create.stage.pName = "main";
  create.stage.pSpecializationInfo = &constants;
  create.layout = layout_;
  const VkResult result = api_.vkCreateComputePipelines(device_, cache_, 1, &create, nullptr, &pipeline);
  api_.vkDestroyShaderModule(device_, module, nullptr);
  check(result, "compiling a shader");
  return pipeline;
}

uint64_t Gpu::free_bytes() const {
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  if (says_budget_) memory.pNext = &budget;
  instance_.api().vkGetPhysicalDeviceMemoryProperties2(physical_, &memory);
  uint64_t most = 0;
  for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i) {
    const VkMemoryHeap& heap = memory.memoryProperties.memoryHeaps[i];
    if (!(heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)) continue;
    const uint64_t left = says_budget_ ? budget.heapBudget[i] - std::min(budget.heapBudget[i], budget.heapUsage[i])
                                       : heap.size - std::min<uint64_t>(heap.size, used_bytes_);
    most = std::max(most, left);
  }
  return most_used_ ? std::min(most, most_used_ - std::min(most_used_, used_bytes_)) : most;
}

void Gpu::require_memory(uint64_t bytes, std::string_view what, std::string_view advice) const {
  if (const uint64_t free = free_bytes(); bytes > free)
    fail(ErrorKind::kMemory, "{} needs {} of the memory of vulkan:{} ({}), which has {} left; {}", what,
         size_text(bytes), info_.index, info_.name, size_text(free), advice);
}

VkCommandBuffer Gpu::new_commands() {
  VkCommandBufferAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  allocate.commandPool = pool_;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  check(api_.vkAllocateCommandBuffers(device_, &allocate, &commands), "making a command buffer");
  return commands;
}

void Gpu::free_commands(VkCommandBuffer commands) { api_.vkFreeCommandBuffers(device_, pool_, 1, &commands); }

void Gpu::submit(VkCommandBuffer commands, VkFence fence) {
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  check(api_.vkQueueSubmit(queue_, 1, &submit, fence), "starting a step");
}

void Gpu::start(VkCommandBuffer commands) { submit(commands, VK_NULL_HANDLE); }

void Gpu::wait() noexcept { api_.vkDeviceWaitIdle(device_); }

void Gpu::run(VkCommandBuffer commands) {
  submit(commands, fence_);
  const VkResult result = api_.vkWaitForFences(device_, 1, &fence_, VK_TRUE, UINT64_MAX);
  api_.vkResetFences(device_, 1, &fence_);
  check(result, "computing a step");
}

uint32_t Gpu::memory_type(uint32_t allowed, MemoryKind kind) const {
  constexpr VkMemoryPropertyFlags kHost = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  VkMemoryPropertyFlags needed = kHost, liked = 0, disliked = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  if (kind == MemoryKind::kDevice) needed = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, disliked = 0;
  if (kind == MemoryKind::kDownload) liked = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  // Cards have a window through which the host sees some of their own memory: it is not for what lies with the host.
  for (const auto& [flags, none_of] : {std::pair(needed | liked, disliked), std::pair(needed | liked, 0u),
                                       std::pair(needed, disliked), std::pair(needed, 0u)})
    for (uint32_t i = 0; i < memory_.memoryTypeCount; ++i)
      if (const VkMemoryPropertyFlags has = memory_.memoryTypes[i].propertyFlags;
          (allowed >> i & 1) && (has & flags) == flags && (has & none_of) == 0)
        return i;
  fail(ErrorKind::kUnsupported, "the device vulkan:{} ({}) has no memory for {}", info_.index, info_.name,
       kind == MemoryKind::kDevice ? "its kernels" : "what passes between it and this machine");
}

Gpu::Block Gpu::allocate(uint64_t bytes, MemoryKind kind) {
  Block block;
  block.bytes = bytes;
  block.kind = kind;
  VkBufferCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  create.size = bytes;
  create.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  create.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  check(api_.vkCreateBuffer(device_, &create, nullptr, &block.buffer), "making a buffer");
  try {
    VkMemoryRequirements needs{};
    api_.vkGetBufferMemoryRequirements(device_, block.buffer, &needs);
    VkMemoryAllocateFlagsInfo flags{};
    flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    VkMemoryAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    allocate.pNext = &flags;
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex = memory_type(needs.memoryTypeBits, kind);
    check(api_.vkAllocateMemory(device_, &allocate, nullptr, &block.memory), "reserving memory of the device");
    check(api_.vkBindBufferMemory(device_, block.buffer, block.memory, 0), "binding memory");
    if (kind != MemoryKind::kDevice) {
      void* mapped = nullptr;
      check(api_.vkMapMemory(device_, block.memory, 0, VK_WHOLE_SIZE, 0, &mapped), "mapping memory");
      block.mapped = static_cast<std::byte*>(mapped);
    }
    VkBufferDeviceAddressInfo address{};
    address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
    address.buffer = block.buffer;
    block.address = api_.vkGetBufferDeviceAddress(device_, &address);
  } catch (...) {
    free(block);
    throw;
  }
  if (kind == MemoryKind::kDevice) used_bytes_ += bytes;
  return block;
}

void Gpu::free(const Block& block) noexcept {
  if (block.address && block.kind == MemoryKind::kDevice) used_bytes_ -= block.bytes;
  api_.vkDestroyBuffer(device_, block.buffer, nullptr);
  api_.vkFreeMemory(device_, block.memory, nullptr);  // unmaps
}

}  // namespace hunch::vulkan
