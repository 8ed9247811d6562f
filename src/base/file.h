// Files: a read-only memory map, and output that appears under its name only when it is complete.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hunch {

// A whole file mapped read-only. Moves, does not copy; views into it live as long as it does.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error{kNotFound | kIo} naming the path. An empty file gives an empty span.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Asks the kernel to read the file ahead.
  void will_need() const;
  // Gives the memory of whole pages among these bytes back, which lie in the map: reading them maps them anew, from the
  // page cache where they are still there.
  static void release(std::span<const std::byte> bytes);

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as a string. Throws Error{kNotFound | kIo | kLimit}; refuses more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 31);

// Writes to `path` + a temporary suffix in the same folder; commit() flushes, syncs and renames.
// Destroyed without commit (an exception, Ctrl-C), it removes the temporary file: nothing
// half-written is ever seen under `path`. Write errors (disk full) throw Error{kIo}.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  uint64_t offset() const { return offset_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  uint64_t offset_ = 0;
  std::string buffer_;
  void flush();
};

}  // namespace hunch
