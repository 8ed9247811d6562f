// NumPy's .npz files, written: a ZIP archive of .npy files, not compressed.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/file.h"

namespace hunch::cli {

class NpzFile {
 public:
  // Nothing lies at `path` before commit().
  explicit NpzFile(const std::filesystem::path& path) : file_(path) {}

  // An array in C order. `type` is NumPy's descr: "<f4", "<f2", "<i4", "|b1". Throws Error{kLimit} where the archive
  // would exceed 4 GB, which this form of it cannot say; Error{kIo}.
  void add(const std::string& name, const char* type, const std::vector<size_t>& shape,
           std::span<const std::byte> data);
  void commit();

 private:
  AtomicFile file_;
  uint64_t n_written_ = 0;
  uint16_t n_entries_ = 0;
  std::string directory_;
};

}  // namespace hunch::cli
