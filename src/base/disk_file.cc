#include "base/disk_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace hunch {

DiskFile::DiskFile(std::filesystem::path path, bool direct) : path_(std::move(path)) {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    const int code = errno;
    fail(code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo, "cannot open '{}': {}", path_.string(),
         std::strerror(code));
  }
  struct stat st {};
  if (fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd_);
    fail(ErrorKind::kIo, "cannot read '{}': it is not a regular file", path_.string());
  }
  size_ = uint64_t(st.st_size);
#ifdef O_DIRECT
  const int flags = fcntl(fd_, F_GETFL);
  if (direct && fcntl(fd_, F_SETFL, flags | O_DIRECT) == 0) {
    for (const size_t align : {size_t{512}, kMostAlign})
      if (align_ == 1 && reads_direct(align)) align_ = align;
    if (align_ == 1) fcntl(fd_, F_SETFL, flags);
  }
#endif
#ifdef POSIX_FADV_RANDOM
  if (align_ == 1) posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);  // what lies beside a part is not wanted with it
#endif
}

DiskFile::~DiskFile() { close(fd_); }

// Asked of the file itself: what a device wants can be told by newer kernels only.
bool DiskFile::reads_direct(size_t align) const {
  if (size_ < 2 * align) return false;
  alignas(kMostAlign) std::byte memory[kMostAlign];
  ssize_t n;
  do {
    n = pread(fd_, memory, align, off_t(align));
  } while (n < 0 && errno == EINTR);
  return n == ssize_t(align);
}

}  // namespace hunch
