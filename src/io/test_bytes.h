// For tests: foreign bytes put together by hand, so that a parser is not tested by its own writer.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace hunch {

struct ByteBuilder {
  std::string bytes;

  template <class T>
  ByteBuilder& num(std::type_identity_t<T> value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  ByteBuilder& u8(uint8_t v) { return num<uint8_t>(v); }
  ByteBuilder& u16(uint16_t v) { return num<uint16_t>(v); }
  ByteBuilder& u32(uint32_t v) { return num<uint32_t>(v); }
  ByteBuilder& i32(int32_t v) { return num<int32_t>(v); }
  ByteBuilder& u64(uint64_t v) { return num<uint64_t>(v); }
  ByteBuilder& f32(float v) { return num<float>(v); }
  ByteBuilder& raw(std::string_view text) {
    bytes.append(text);
    return *this;
  }
  // A GGUF string: 64-bit length, then the bytes.
  ByteBuilder& str(std::string_view text) { return u64(text.size()).raw(text); }
  ByteBuilder& pad_to(size_t unit, char fill = '\0') {
    bytes.resize((bytes.size() + unit - 1) / unit * unit, fill);
    return *this;
  }
};

inline std::span<const std::byte> as_byte_span(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A folder of the test's own, removed with it.
struct TempDir {
  std::filesystem::path path;
  explicit TempDir(std::string_view name)
      : path(std::filesystem::temp_directory_path() / ("hunch_" + std::string(name) + std::to_string(getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  void write(const std::filesystem::path& name, std::string_view text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
};

}  // namespace hunch
