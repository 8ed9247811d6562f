// Work for a device: recorded once, run as often as wanted; whole, or in parts between which the host does something.
#pragma once
#include <memory>
#include <vector>

#include "vulkan/memory.h"

namespace hunch::vulkan {

class Commands {
 public:
  explicit Commands(std::shared_ptr<Gpu> gpu);
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  // Runs a pipeline in so many workgroups; `push` is what its shader declares.
  template <class Push>
  void dispatch(VkPipeline pipeline, const Push& push, uint32_t x, uint32_t y = 1, uint32_t z = 1) {
    static_assert(sizeof(Push) <= 128);
    dispatch(pipeline, &push, sizeof push, x, y, z);
  }
  void copy(const Piece& from, uint64_t from_byte, const Piece& to, uint64_t to_byte, uint64_t n_bytes);
  void fill_zero(const Piece& piece);
  // What follows sees what was written so far. Without it, kernels may run side by side.
  void barrier();
  // What follows is another part; the host sees what was written so far.
  void cut();
  void end();  // likewise

  // Run and wait for the end of all parts, or of one. Throws as Gpu::run().
  void run();
  void run(size_t part) { gpu_->run(parts_[part]); }
  // Does not wait; whoever next runs a part waits for this one too.
  void start(size_t part) { gpu_->start(parts_[part]); }
  void wait() noexcept { gpu_->wait(); }

 private:
  void dispatch(VkPipeline pipeline, const void* push, size_t bytes, uint32_t x, uint32_t y, uint32_t z);
  void barrier(VkPipelineStageFlags to_stages, VkAccessFlags to_access);

  void begin();

  std::shared_ptr<Gpu> gpu_;
  std::vector<VkCommandBuffer> parts_;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;  // the last part
};

}  // namespace hunch::vulkan
