// An owned, uninitialised block of memory: 64-byte aligned, on huge pages where it is large and the
// system grants them, readable for kPadBytes past its end so that kernels may load whole vectors.
#pragma once
#include <cstddef>
#include <span>
#include <utility>

namespace hunch {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignBytes = 64;
  static constexpr size_t kPadBytes = 64;

  AlignedBuffer() = default;
  // Throws Error{kMemory} when the system has no `n_bytes` left.
  explicit AlignedBuffer(size_t n_bytes);
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  template <class T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(data_), size_ / sizeof(T)};
  }

 private:
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A buffer that grows to the largest size asked for and never shrinks: scratch space that makes a
// forward pass allocate only the first time it meets a larger batch. Contents are lost on growth.
class Scratch {
 public:
  template <class T>
  std::span<T> get(size_t n) {
    reserve(n * sizeof(T));
    return {reinterpret_cast<T*>(buffer_.data()), n};
  }
  size_t size_bytes() const { return buffer_.size(); }

 private:
  void reserve(size_t n_bytes);
  AlignedBuffer buffer_;
};

}  // namespace hunch
