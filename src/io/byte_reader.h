// A cursor over foreign bytes. Every read is checked against what is left, so that no parser built
// on it can step outside its input. Little endian, as every format read here is.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace hunch {

class ByteReader {
 public:
  // `what` names the input in messages ("GGUF file"); a literal, it is not copied.
  ByteReader(std::span<const std::byte> bytes, const char* what) : bytes_(bytes), what_(what) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  // The next n bytes. Throws Error{kFormat} when fewer are left; `part` names what was being read.
  std::span<const std::byte> take(uint64_t n, const char* part) {
    need(n, part);
    const auto taken = bytes_.subspan(position_, size_t(n));
    position_ += size_t(n);
    return taken;
  }
  std::string_view take_text(uint64_t n, const char* part) {
    const auto taken = take(n, part);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  // A number as it is stored; unaligned positions are fine. bool is no number: read a byte.
  template <class T>
  T read(const char* part) {
    static_assert(std::endian::native == std::endian::little);
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    T value;
    std::memcpy(&value, take(sizeof(T), part).data(), sizeof(T));
    return value;
  }
  // Refuses a count that cannot be true because `n` items of at least `min_bytes` do not fit into
  // what is left. To be called before anything is allocated for them.
  void expect_items(uint64_t n, uint64_t min_bytes, const char* part) const {
    if (n > remaining() / min_bytes)
      fail(ErrorKind::kFormat, "{} claims {} {} at offset {}, but only {} bytes are left; it is truncated or damaged",
           what_, n, part, position_, remaining());
  }

 private:
  void need(uint64_t n, const char* part) const {
    if (n > remaining())
      fail(ErrorKind::kFormat, "{} is truncated: {} at offset {} needs {} bytes, {} are left", what_, part, position_,
           n, remaining());
  }

  std::span<const std::byte> bytes_;
  const char* what_;
  size_t position_ = 0;
};

}  // namespace hunch
