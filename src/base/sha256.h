// SHA-256 (FIPS 180-4), in one call or piece by piece. Hub files are checked with it, and a sidecar
// names its base model by it. Computed by OpenSSL, which uses the CPU's SHA instructions, or
// in a build without the hub by plain code, some ten times slower.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hunch {

using Sha256Digest = std::array<std::byte, 32>;

// A running hash. Not copyable; one thread at a time.
class Sha256 {
 public:
  // Throws Error{kMemory} when the library has no memory for a context.
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  // Returns the digest of everything so far and starts anew.
  Sha256Digest finish();
  // finish() as 64 lower-case hexadecimal digits.
  std::string finish_hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// 64 lower-case hexadecimal digits.
std::string to_hex(const Sha256Digest& digest);
// The digest of `bytes` in hexadecimal.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace hunch
