// Work for a device: recorded once, run as often as wanted.
#pragma once
#include <memory>

#include "vulkan/memory.h"

namespace hunch::vulkan {

class Commands {
 public:
  explicit Commands(std::shared_ptr<Gpu> gpu);
  ~Commands() { gpu_->free_commands(commands_); }
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
  void end();  // the host sees what was written

  // Waits for its end. Throws as Gpu::run().
  void run() { gpu_->run(commands_); }

 private:
  void dispatch(VkPipeline pipeline, const void* push, size_t bytes, uint32_t x, uint32_t y, uint32_t z);
  void barrier(VkPipelineStageFlags to_stages, VkAccessFlags to_access);

  std::shared_ptr<Gpu> gpu_;
  VkCommandBuffer commands_;
};

}  // namespace hunch::vulkan
