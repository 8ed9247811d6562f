// For tests: a file of known bytes, and a reader that counts, and fails when it is told to.
#pragma once
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/disk_reader.h"
#include "base/error.h"

namespace hunch {

struct FaultyReader final : DiskReader {
  std::unique_ptr<DiskReader> reader = make_disk_reader();
  size_t n_reads = 0, n_bytes = 0;
  size_t fails_after = SIZE_MAX;  // so many more reads, one fails
  bool for_good = false;          // and all that come after it
  bool takes_none = false;        // the next begin() throws, half of it asked for

  bool fails() {
    if (fails_after == SIZE_MAX) return false;
    if (fails_after > 0) return --fails_after, false;
    if (!for_good) fails_after = SIZE_MAX;
    return true;
  }

  const char* name() const override { return "faulty"; }
  void begin(std::span<const DiskRead> reads, DiskBatch& batch) override {
    if (takes_none) {
      takes_none = false;
      for (const DiskRead& read : reads) std::memset(read.to, 0xa5, read.n_bytes);
      reader->begin(reads.first(reads.size() / 2), batch);
      fail(ErrorKind::kIo, "injected: takes no reads");
    }
    std::vector<DiskRead> good;
    for (const DiskRead& read : reads) {
      ++n_reads;
      n_bytes += read.n_bytes;
      if (fails()) {
        batch.error = "cannot read: injected";
        std::memset(read.to, 0xa5, read.n_bytes);  // what a disk leaves there
      } else {
        good.push_back(read);
      }
    }
    reader->begin(good, batch);
  }
  void finish(DiskBatch& batch) override { reader->finish(batch); }
};

struct TestFile {
  std::filesystem::path path;
  std::string bytes;

  // On a real disk, where the build is: temporary folders may be in memory.
  TestFile(const std::string& name, size_t n_bytes)
      : path(std::filesystem::path(HUNCH_BINARY_DIR) / (name + std::to_string(getpid()))) {
    std::mt19937 rng(7);
    for (size_t i = 0; i < n_bytes; ++i) bytes.push_back(char(rng()));
    std::ofstream(path, std::ios::binary) << bytes;
  }
  ~TestFile() {
    std::error_code ec;
    std::filesystem::remove(path, ec);
  }
};

}  // namespace hunch
