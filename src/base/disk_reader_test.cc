#include "base/disk_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "base/error.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr size_t kBytes = (size_t{1} << 20) + 777;  // ends within a block

class DiskReaderTest : public testing::TestWithParam<DiskReaderKind> {
 protected:
  // Where the source is: temporary folders are often in memory, which has no direct reads.
  fs::path path_ = fs::path(HUNCH_BINARY_DIR) / ("disk_reader_test" + std::to_string(getpid()));
  std::string text_;
  AlignedBuffer memory_{2 * kBytes};
  std::unique_ptr<DiskReader> reader_;

  void SetUp() override {
    std::mt19937 rng(1);
    for (size_t i = 0; i < kBytes; ++i) text_.push_back(char(rng()));
    std::ofstream(path_, std::ios::binary) << text_;
    try {
      reader_ = make_disk_reader(GetParam());
    } catch (const Error& e) {
      GTEST_SKIP() << e.what();
    }
  }
  void TearDown() override { fs::remove(path_); }
  std::byte* to(size_t at) {
    const auto base = round_up(reinterpret_cast<uintptr_t>(memory_.data()), DiskFile::kMostAlign);
    return reinterpret_cast<std::byte*>(base) + at;
  }
  std::string error_of(DiskBatch& batch) {
    try {
      reader_->finish(batch);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kIo);
      return e.what();
    }
    return "";
  }
};

TEST_P(DiskReaderTest, ManyReadsInFlightBringTheFile) {
  for (const bool direct : {true, false}) {
    const DiskFile file(path_, direct);
    EXPECT_EQ(file.size(), kBytes);
    std::memset(memory_.data(), 0, memory_.size());
    const size_t step = std::max<size_t>(512, file.align());
    std::vector<DiskRead> reads;
    for (size_t at = 0; at < kBytes; at += step)
      reads.push_back({&file, at, step, std::min(step, kBytes - at), to(at)});
    std::shuffle(reads.begin(), reads.end(), std::mt19937(2));
    DiskBatch first, second;  // finished in the other order
    reader_->begin(std::span(reads).first(reads.size() / 2), first);
    reader_->begin(std::span(reads).subspan(reads.size() / 2), second);
    reader_->finish(second);
    reader_->finish(first);
    EXPECT_EQ(std::memcmp(to(0), text_.data(), kBytes), 0) << direct;
  }
}

TEST_P(DiskReaderTest, AShorterFileIsAnErrorThatNamesIt) {
  const DiskFile file(path_);
  fs::resize_file(path_, 4096 * 3 + 5);
  DiskBatch batch;
  const DiskRead reads[] = {{&file, 0, 8192, 8192, to(0)}, {&file, 8192, 8192, 8192, to(8192)}};
  reader_->begin(reads, batch);
  const std::string error = error_of(batch);
  EXPECT_NE(error.find(path_.string()), std::string::npos) << error;
  EXPECT_NE(error.find("8192 bytes at 8192: the file ends after 4101"), std::string::npos) << error;
  EXPECT_EQ(std::memcmp(to(0), text_.data(), 8192), 0);
  // The batch is as new.
  reader_->begin(std::span(reads).first(1), batch);
  EXPECT_EQ(error_of(batch), "");
  // What lies behind the end can be asked for, but not needed.
  const DiskRead last{&file, 8192, 8192, 4101, to(8192)};
  reader_->begin({&last, 1}, batch);
  EXPECT_EQ(error_of(batch), "");
}

TEST_P(DiskReaderTest, WhatTheSystemRefusesIsAnError) {
  const DiskFile file(path_);
  DiskBatch batch;
  const DiskRead read{&file, 0, 4096, 4096, nullptr};
  reader_->begin({&read, 1}, batch);
  EXPECT_NE(error_of(batch).find("4096 bytes at 0: "), std::string::npos);
}

TEST_P(DiskReaderTest, FilesThatAreNone) {
  EXPECT_THROW(DiskFile(path_.string() + ".none"), Error);
  EXPECT_THROW(DiskFile(path_.parent_path()), Error);
  std::ofstream(path_, std::ios::binary | std::ios::trunc) << "ab";  // less than a block
  const DiskFile file(path_);
  EXPECT_EQ(file.align(), 1u);
  DiskBatch batch;
  const DiskRead read{&file, 1, 1, 1, to(0)};
  reader_->begin({&read, 1}, batch);
  reader_->finish(batch);
  EXPECT_EQ(*to(0), std::byte{'b'});
}

INSTANTIATE_TEST_SUITE_P(Kinds, DiskReaderTest, testing::Values(DiskReaderKind::kThreads, DiskReaderKind::kUring),
                         [](const auto& info) {
                           return info.param == DiskReaderKind::kThreads ? "threads" : "io_uring";
                         });

}  // namespace
}  // namespace hunch
