// Compiled pipelines in the cache folder: a driver takes up to seconds to make them anew.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/home_folder.h"
#include "vulkan/gpu.h"

namespace hunch::vulkan {

// The driver checks what it is given, and ignores what another one wrote. What cannot be read is as good as none.
void Gpu::load_pipeline_cache() {
  constexpr uint64_t kMostBytes = uint64_t{1} << 28;
  std::string data;
  try {
    data = read_file(hunch_home() / "pipelines" / cache_name_, kMostBytes);
  } catch (const Error&) {
  }
  VkPipelineCacheCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  create.initialDataSize = data.size();
  create.pInitialData = data.data();
  check(api_.vkCreatePipelineCache(device_, &create, nullptr, &cache_), "making a pipeline cache");
  cache_bytes_ = data.size();
}

// Where it grew. A full disk or a folder that may not be written cost the next run some time, and nothing else.
void Gpu::save_pipeline_cache() {
  size_t n = 0;
  if (pipelines_.empty() || api_.vkGetPipelineCacheData(device_, cache_, &n, nullptr) != VK_SUCCESS) return;
  if (n <= cache_bytes_) return;
  std::vector<std::byte> data(n);
  if (api_.vkGetPipelineCacheData(device_, cache_, &n, data.data()) != VK_SUCCESS) return;
  try {
    const std::filesystem::path folder = hunch_home() / "pipelines";
    std::filesystem::create_directories(folder);
    AtomicFile file(folder / cache_name_);
    file.write(std::span(data).first(n));
    file.commit();
  } catch (const std::exception&) {
  }
}

}  // namespace hunch::vulkan
