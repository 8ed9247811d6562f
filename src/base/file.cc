#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace hunch {
namespace {

constexpr size_t kWriteBufferBytes = size_t{1} << 20;

// Opens a regular file for reading; `size` receives its length.
int open_for_reading(const std::filesystem::path& path, size_t& size) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer would hold it up
  if (fd < 0) {
    const int code = errno;
    fail(code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo, "cannot open '{}': {}", path.string(),
         std::strerror(code));
  }
  struct stat st {};
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    fail(ErrorKind::kIo, "cannot read '{}': it is not a regular file", path.string());
  }
  size = size_t(st.st_size);
  return fd;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int fd = open_for_reading(path, size_);
  if (size_ > 0) {
    void* p = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    const int code = errno;
    close(fd);
    if (p == MAP_FAILED) fail(ErrorKind::kIo, "cannot map '{}': {}", path.string(), std::strerror(code));
    data_ = static_cast<const std::byte*>(p);
  } else {
    close(fd);
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::will_need() const {
  if (data_) madvise(const_cast<std::byte*>(data_), size_, MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> bytes) {
  const auto page = uintptr_t(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = (begin + page - 1) / page * page, end = (begin + bytes.size()) / page * page;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

std::string read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  size_t size = 0;
  const int fd = open_for_reading(path, size);
  if (size > max_bytes) {
    close(fd);
    fail(ErrorKind::kLimit, "'{}' has {} bytes; at most {} are read into memory", path.string(), size, max_bytes);
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = read(fd, text.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      close(fd);
      fail(ErrorKind::kIo, "cannot read '{}': {}", path.string(),
           n < 0 ? std::strerror(errno) : "it became shorter while being read");
    }
    done += size_t(n);
  }
  close(fd);
  return text;
}

namespace {

// Where a file of this name is written: a link stays one, and what is no file (a device, a pipe) is not replaced by
// one.
std::filesystem::path target_of(const std::filesystem::path& path) {
  std::error_code ec;
  const std::filesystem::file_status status = std::filesystem::status(path, ec);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    fail(ErrorKind::kIo, "cannot write '{}': it is there already and no regular file", path.string());
  if (!std::filesystem::is_symlink(path, ec)) return path;
  const std::filesystem::path target = std::filesystem::canonical(path, ec);
  return ec ? path : target;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(target_of(path)), temporary_(path_.string() + ".tmp" + std::to_string(getpid())) {
  fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(ErrorKind::kIo, "cannot write '{}': {}", path_.string(), std::strerror(errno));
  unlink_on_kill(temporary_.c_str());
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    close(fd_);
    unlink(temporary_.c_str());
  }
  forget_on_kill(temporary_.c_str());
}

void AtomicFile::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::kIo, "cannot write '{}': {}", path_.string(), std::strerror(errno));
    done += size_t(n);
  }
  buffer_.clear();
}

void AtomicFile::write(std::string_view text) {
  buffer_.append(text);
  offset_ += text.size();
  if (buffer_.size() >= kWriteBufferBytes) flush();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit() {
  flush();
  if (fsync(fd_) != 0 && errno != EINVAL)
    fail(ErrorKind::kIo, "cannot write '{}': {}", path_.string(), std::strerror(errno));
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    unlink(temporary_.c_str());
    fail(ErrorKind::kIo, "cannot write '{}': {}", path_.string(), std::strerror(code));
  }
}

}  // namespace hunch
