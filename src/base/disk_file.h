// A file of which parts are read into memory of one's own, when they are needed: weights of models that are larger than
// memory. Reading goes past the page cache where the system allows it, so that what is kept is what the reader keeps.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace hunch {

class DiskFile {
 public:
  // What every system's direct reads are content with: offsets and lengths, and the address that is read to.
  static constexpr size_t kMostAlign = 4096;

  // Throws Error{kNotFound | kIo} naming the path. `direct` false: through the page cache.
  explicit DiskFile(std::filesystem::path path, bool direct = true);
  ~DiskFile();
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;

  int fd() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened
  bool is_direct() const { return align_ > 1; }
  // Of offsets and lengths of reads: 1, or what the device wants.
  size_t align() const { return align_; }

 private:
  bool reads_direct(size_t align) const;

  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  size_t align_ = 1;
};

}  // namespace hunch
