// An opened device: its queue, its memory, and its pipelines, whose compiled code is kept on disk from run to run.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vulkan/instance.h"

namespace hunch::vulkan {

// The compiled shader of this name ("matvec_q4_0", "norm"); empty: there is none. Made by the build from shaders/.
std::span<const uint32_t> shader_words(std::string_view name);

// Where memory can lie.
enum class MemoryKind : uint8_t {
  kDevice,    // fast for kernels; the host sees it only through copies
  kUpload,    // the host writes, kernels and copies read
  kDownload,  // copies write, the host reads
};

// One caller at a time. Shared by all that lies on it.
class Gpu {
 public:
  // Throws as Instance and Instance::device(), Error{kUnsupported} for what the device lacks.
  explicit Gpu(size_t index, bool validate = false);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  const DeviceInfo& info() const { return info_; }
  const DeviceApi& api() const { return api_; }
  VkDevice handle() const { return device_; }
  VkPipelineLayout layout() const { return layout_; }
  const std::vector<std::string> messages() const { return instance_.messages(); }

  // The pipeline of a shader, made when it is first asked for; `tokens` is its specialization constant 0.
  VkPipeline pipeline(std::string_view shader, uint32_t tokens = 1);

  // Bytes of the device's own memory that are free by what the driver says, or where it does not say all that are not
  // taken here; at most what is left of a limit.
  uint64_t free_bytes() const;
  uint64_t used_bytes() const { return used_bytes_; }  // of it, taken by this
  // From now on no more than so much is planned with: a card that others use too. 0: no limit.
  void limit_memory(uint64_t bytes) { most_used_ = bytes; }
  // Throws Error{kMemory} naming both where that are fewer than `bytes`, which `what` needs; `advice`: what to do then.
  void require_memory(uint64_t bytes, std::string_view what, std::string_view advice) const;
  uint32_t subgroup_size() const { return subgroup_size_; }  // as the driver prefers it; kernels go by their own
  // Most bytes of one allocation.
  uint64_t most_bytes() const { return most_bytes_; }

  VkCommandBuffer new_commands();
  void free_commands(VkCommandBuffer commands);
  // Runs recorded commands and waits for their end. Throws Error{kIo} where the device was lost.
  void run(VkCommandBuffer commands);
  // Begins them; run() of others, or wait(), waits for these too.
  void start(VkCommandBuffer commands);
  void wait() noexcept;

  // A buffer and its memory. Throws Error{kMemory}.
  struct Block {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    uint64_t address = 0;
    std::byte* mapped = nullptr;  // of kUpload and kDownload
    uint64_t bytes = 0;
    MemoryKind kind = MemoryKind::kDevice;
  };
  Block allocate(uint64_t bytes, MemoryKind kind);
  void free(const Block& block) noexcept;

 private:
  void submit(VkCommandBuffer commands, VkFence fence);
  void open(VkPhysicalDevice physical);
  void close();
  uint32_t memory_type(uint32_t allowed, MemoryKind kind) const;
  void load_pipeline_cache();
  void save_pipeline_cache();

  Instance instance_;
  DeviceInfo info_;
  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  DeviceApi api_;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  std::map<std::pair<std::string, uint32_t>, VkPipeline, std::less<>> pipelines_;
  VkPhysicalDeviceMemoryProperties memory_{};
  std::string cache_name_;
  size_t cache_bytes_ = 0;  // as it was read
  uint64_t most_bytes_ = 0, used_bytes_ = 0, most_used_ = 0;
  uint32_t subgroup_size_ = 32;
  bool says_budget_ = false, fills_subgroups_ = false;
};

}  // namespace hunch::vulkan
