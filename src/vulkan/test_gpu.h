// A device for tests, whose every call the validation layer checks where that is installed.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "base/error.h"
#include "vulkan/kernels.h"

namespace hunch::vulkan {

// The first device, opened once for the whole program; none where there is no driver, and why.
struct TestGpu {
  std::shared_ptr<Gpu> gpu;
  std::string problem;
  bool is_validated = true;
};

inline const TestGpu& test_gpu() {
  static const TestGpu only = [] {
    const auto home = std::filesystem::temp_directory_path() / "hunch_test_vulkan";  // of compiled pipelines
    setenv("HUNCH_HOME", home.c_str(), 0);
    TestGpu test;
    for (const bool validate : {true, false}) {
      try {
        test.gpu = std::make_shared<Gpu>(0, validate);
        test.is_validated = validate;
        break;
      } catch (const Error& e) {
        test.problem = e.what();
      }
    }
    return test;
  }();
  return only;
}

// Skips where there is no device; ends with the question whether Vulkan was used as it wants to be.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test_gpu().gpu) GTEST_SKIP() << "no Vulkan device: " << test_gpu().problem;
    gpu_ = test_gpu().gpu;
    if (!test_gpu().is_validated) std::fputs("not validated: vulkan-validationlayers is not installed\n", stderr);
    arena_ = std::make_unique<DeviceArena>(gpu_);
    uploader_ = std::make_unique<Uploader>(gpu_);
  }
  void TearDown() override {
    if (!gpu_) return;
    arena_.reset();
    EXPECT_EQ(gpu_->messages(), std::vector<std::string>());
  }

  // Values [n_tokens, n] on the device, from rows that lie side by side.
  Values put(const std::vector<float>& values, size_t n) {
    const size_t n_tokens = values.size() / n, stride = padded(n);
    std::vector<float> rows(n_tokens * stride);
    for (size_t t = 0; t < n_tokens; ++t)
      std::copy_n(values.begin() + ptrdiff_t(t * n), n, rows.begin() + ptrdiff_t(t * stride));
    return {uploader_->upload(*arena_, std::span<const float>(rows)), uint32_t(stride)};
  }
  Piece put_words(const std::vector<uint32_t>& words) {
    return uploader_->upload(*arena_, std::span<const uint32_t>(words));
  }
  Piece put_floats(const std::vector<float>& values) {
    return values.empty() ? Piece() : uploader_->upload(*arena_, std::span<const float>(values));
  }

  // Records, runs and waits.
  template <class Record>
  void run(const Record& record) {
    Commands commands(gpu_);
    Kernels kernels(gpu_, commands);
    record(kernels);
    commands.end();
    commands.run();
  }

  template <class T>
  std::vector<T> read(const Piece& piece, size_t n) {
    HostBlock block(gpu_, n * sizeof(T), MemoryKind::kDownload);
    Commands commands(gpu_);
    commands.copy(piece, 0, block.piece(), 0, n * sizeof(T));
    commands.end();
    commands.run();
    const std::span<T> values = block.as<T>().first(n);
    return {values.begin(), values.end()};
  }
  std::vector<float> get(const Values& values, size_t n, size_t n_tokens) {
    const std::vector<float> rows = read<float>(values.piece, n_tokens * values.stride);
    std::vector<float> out;
    for (size_t t = 0; t < n_tokens; ++t)
      out.insert(out.end(), rows.begin() + ptrdiff_t(t * values.stride),
                 rows.begin() + ptrdiff_t(t * values.stride + n));
    return out;
  }

  std::vector<float> random(size_t n, float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> values(n);
    for (float& v : values) v = normal(random_);
    return values;
  }

  std::shared_ptr<Gpu> gpu_;
  std::unique_ptr<DeviceArena> arena_;
  std::unique_ptr<Uploader> uploader_;
  std::mt19937 random_{7};
};

}  // namespace hunch::vulkan
