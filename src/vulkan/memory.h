// Memory of a device in pieces, and what passes between it and the host.
#pragma once
#include <memory>
#include <span>

#include "vulkan/gpu.h"

namespace hunch::vulkan {

// A piece of a buffer, by what kernels (address) and copies (buffer, offset) call it. Who made it keeps the memory.
struct Piece {
  uint64_t address = 0;
  VkBuffer buffer = VK_NULL_HANDLE;
  uint64_t offset = 0, bytes = 0;
  explicit operator bool() const { return address != 0; }
  Piece behind(uint64_t n) const { return {address + n, buffer, offset + n, bytes - n}; }
};

// Memory for kernels that grows piece by piece and goes as a whole: the device's own, or of the host, which kernels
// read and write across the bus (MemoryKind::kUpload).
class DeviceArena {
 public:
  explicit DeviceArena(std::shared_ptr<Gpu> gpu, MemoryKind kind = MemoryKind::kDevice)
      : gpu_(std::move(gpu)), kind_(kind) {}
  ~DeviceArena();
  DeviceArena(const DeviceArena&) = delete;
  DeviceArena& operator=(const DeviceArena&) = delete;

  // Whole multiples of 256 bytes at such an address; what is in it is not known. Throws Error{kMemory}.
  Piece take(uint64_t bytes);
  uint64_t bytes() const { return bytes_; }  // taken so far

 private:
  std::shared_ptr<Gpu> gpu_;
  MemoryKind kind_;
  std::vector<Gpu::Block> blocks_;
  uint64_t used_ = 0;  // of the last block
  uint64_t bytes_ = 0;
};

// Memory that the host and copies see.
class HostBlock {
 public:
  HostBlock(std::shared_ptr<Gpu> gpu, uint64_t bytes, MemoryKind kind);
  ~HostBlock() { gpu_->free(block_); }
  HostBlock(const HostBlock&) = delete;
  HostBlock& operator=(const HostBlock&) = delete;

  std::span<std::byte> bytes() const { return {block_.mapped, block_.bytes}; }
  Piece piece() const { return {block_.address, block_.buffer, 0, block_.bytes}; }
  template <class T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(block_.mapped), block_.bytes / sizeof(T)};
  }

 private:
  std::shared_ptr<Gpu> gpu_;
  Gpu::Block block_;
};

// Fills device memory with bytes of the host's, a part at a time, and waits.
class Uploader {
 public:
  explicit Uploader(std::shared_ptr<Gpu> gpu);
  void upload(std::span<const std::byte> bytes, const Piece& to);
  // Memory for `bytes`, filled.
  Piece upload(DeviceArena& arena, std::span<const std::byte> bytes);
  template <class T>
  Piece upload(DeviceArena& arena, std::span<const T> values) {
    return upload(arena, std::as_bytes(values));
  }
  void fill_zero(const Piece& piece);

 private:
  static constexpr uint64_t kPartBytes = uint64_t{1} << 24;
  std::shared_ptr<Gpu> gpu_;
  HostBlock staging_;
};

}  // namespace hunch::vulkan
