#include "vulkan/memory.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "vulkan/commands.h"

namespace hunch::vulkan {
namespace {

constexpr uint64_t kAlign = 256, kBlockBytes = uint64_t{1} << 26;

}  // namespace

DeviceArena::~DeviceArena() {
  for (const Gpu::Block& block : blocks_) gpu_->free(block);
}

Piece DeviceArena::take(uint64_t bytes) {
  bytes = std::max((bytes + kAlign - 1) / kAlign * kAlign, kAlign);
  if (bytes > gpu_->most_bytes())
    fail(ErrorKind::kMemory, "the device vulkan:{} ({}) gives at most {} bytes at once, {} are needed",
         gpu_->info().index, gpu_->info().name, gpu_->most_bytes(), bytes);
  if (blocks_.empty() || blocks_.back().bytes - used_ < bytes) {
    const uint64_t least = std::min(kBlockBytes, bytes_ / 4 / kAlign * kAlign);  // little for who needs little
    blocks_.reserve(blocks_.size() + 1);
    blocks_.push_back(gpu_->allocate(std::max(bytes, least), kind_));
    used_ = 0;
  }
  const Gpu::Block& block = blocks_.back();
  const Piece piece{block.address + used_, block.buffer, used_, bytes};
  used_ += bytes;
  bytes_ += bytes;
  return piece;
}

HostBlock::HostBlock(std::shared_ptr<Gpu> gpu, uint64_t bytes, MemoryKind kind)
    : gpu_(std::move(gpu)), block_(gpu_->allocate(std::max(bytes, kAlign), kind)) {}

Uploader::Uploader(std::shared_ptr<Gpu> gpu) : gpu_(std::move(gpu)), staging_(gpu_, kPartBytes, MemoryKind::kUpload) {}

void Uploader::upload(std::span<const std::byte> bytes, const Piece& to) {
  HUNCH_CHECK(bytes.size() <= to.bytes, "{} bytes into {}", bytes.size(), to.bytes);
  for (size_t begin = 0; begin < bytes.size(); begin += kPartBytes) {
    const std::span<const std::byte> part = bytes.subspan(begin, std::min(kPartBytes, bytes.size() - begin));
    std::memcpy(staging_.bytes().data(), part.data(), part.size());
    Commands commands(gpu_);
    commands.copy(staging_.piece(), 0, to, begin, part.size());
    commands.end();
    commands.run();
  }
}

Piece Uploader::upload(DeviceArena& arena, std::span<const std::byte> bytes) {
  const Piece piece = arena.take(bytes.size());
  upload(bytes, piece);
  return piece;
}

void Uploader::fill_zero(const Piece& piece) {
  Commands commands(gpu_);
  commands.fill_zero(piece);
  commands.end();
  commands.run();
}

}  // namespace hunch::vulkan
