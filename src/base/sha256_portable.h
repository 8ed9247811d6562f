// SHA-256 in plain C++, for builds without OpenSSL. Who wants a digest calls base/sha256.h.
#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace hunch {

// FIPS 180-4, sections 5 and 6.2. start() comes before the first update() and after every finish().
class PortableSha256 {
 public:
  void start();
  void update(std::span<const std::byte> bytes);
  std::array<std::byte, 32> finish();

 private:
  void compress();

  std::array<uint32_t, 8> state_{};
  std::array<std::byte, 64> block_{};
  uint64_t n_bytes_ = 0;
};

}  // namespace hunch
