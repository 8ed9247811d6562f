#include "vulkan/commands.h"

#include "base/error.h"

namespace hunch::vulkan {

Commands::Commands(std::shared_ptr<Gpu> gpu) : gpu_(std::move(gpu)) { begin(); }

Commands::~Commands() {
  for (const VkCommandBuffer part : parts_) gpu_->free_commands(part);
}

void Commands::begin() {
  parts_.reserve(parts_.size() + 1);
  commands_ = gpu_->new_commands();
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  const VkResult result = gpu_->api().vkBeginCommandBuffer(commands_, &begin);
  if (result < VK_SUCCESS) gpu_->free_commands(commands_);
  check(result, "recording commands");
  parts_.push_back(commands_);
}

void Commands::cut() {
  barrier();
  end();
  begin();
}

void Commands::run() {
  for (size_t i = 0; i < parts_.size(); ++i) run(i);
}

void Commands::dispatch(VkPipeline pipeline, const void* push, size_t bytes, uint32_t x, uint32_t y, uint32_t z) {
  const DeviceApi& api = gpu_->api();
  api.vkCmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  api.vkCmdPushConstants(commands_, gpu_->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0, uint32_t(bytes), push);
  api.vkCmdDispatch(commands_, x, y, z);
}

void Commands::copy(const Piece& from, uint64_t from_byte, const Piece& to, uint64_t to_byte, uint64_t n_bytes) {
  HUNCH_CHECK(from_byte + n_bytes <= from.bytes && to_byte + n_bytes <= to.bytes, "a copy of {} bytes", n_bytes);
  if (n_bytes == 0) return;
  const VkBufferCopy region{from.offset + from_byte, to.offset + to_byte, n_bytes};
  gpu_->api().vkCmdCopyBuffer(commands_, from.buffer, to.buffer, 1, &region);
}

void Commands::fill_zero(const Piece& piece) {
  gpu_->api().vkCmdFillBuffer(commands_, piece.buffer, piece.offset, piece.bytes, 0);
}

void Commands::barrier(VkPipelineStageFlags to_stages, VkAccessFlags to_access) {
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = to_access;
  gpu_->api().vkCmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                                   to_stages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

void Commands::barrier() {
  barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
          VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
              VK_ACCESS_TRANSFER_WRITE_BIT);
}

void Commands::end() {
  barrier(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
  check(gpu_->api().vkEndCommandBuffer(commands_), "recording commands");
}

}  // namespace hunch::vulkan
