// Blocks and the values that ggml decodes them to (shared/golden/gguf_types), for every format that is read: what its
// quantiser made of real-looking rows, and random bits, in which codes and scales occur that no quantiser chooses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/test_paths.h"
#include "formats/format.h"

namespace hunch {
namespace {

constexpr size_t kRows = 8, kCols = 512;

class FormatGolden : public ::testing::TestWithParam<std::string> {
 protected:
  // The file's four arrays, one after the other.
  void SetUp() override {
    std::string name = GetParam();
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return char(std::toupper(c)); });
    const auto path = shared_path("golden/gguf_types/" + name + ".bin");
    if (!path) GTEST_SKIP() << "no golden/gguf_types/" << name << ".bin in the shared data";
    file_ = MappedFile(*path);
    n_bytes_ = kRows * row_bytes(format().dtype, kCols);
    ASSERT_GE(file_.bytes().size(), 2 * (n_bytes_ + kValueBytes));
  }
  const Format& format() const { return info(*dtype_from_name(GetParam())); }
  const std::byte* encoded(bool random) const { return file_.bytes().data() + (random ? n_bytes_ + kValueBytes : 0); }
  std::vector<float> values(bool random) const {
    std::vector<float> v(kRows * kCols);
    std::memcpy(v.data(), encoded(random) + n_bytes_, kValueBytes);
    return v;
  }
  // Rows of blocks and what they decode to, one after the other: from the quantiser, random, and, behind them in the
  // files of types with tables, blocks in which every entry of the table occurs.
  template <class Body>
  void for_each_piece(const Body& body) const {
    const size_t row = n_bytes_ / kRows, rest = file_.bytes().size() - 2 * (n_bytes_ + kValueBytes);
    ASSERT_EQ(rest % (row + kCols * sizeof(float)), 0u);
    const size_t rows[] = {kRows, kRows, rest / (row + kCols * sizeof(float))};
    const std::byte* at = file_.bytes().data();
    for (const size_t n : rows) {
      std::vector<float> want(n * kCols);
      std::memcpy(want.data(), at + n * row, want.size() * sizeof(float));
      body(at, want);
      at += n * (row + kCols * sizeof(float));
    }
  }
  static std::vector<float> numbers(const std::string& name, size_t n) {
    const auto path = shared_path("golden/gguf_types/" + name);
    std::vector<float> v(n);
    if (!path || MappedFile(*path).bytes().size() != n * sizeof(float)) {
      ADD_FAILURE() << "no " << n << " numbers in golden/gguf_types/" << name;
      return v;
    }
    const MappedFile file(*path);
    std::memcpy(v.data(), file.bytes().data(), n * sizeof(float));
    return v;
  }

  static constexpr size_t kValueBytes = kRows * kCols * sizeof(float);
  MappedFile file_;
  size_t n_bytes_ = 0;
};

TEST_P(FormatGolden, DecodesToTheValuesOfGgml) {
  for_each_piece([&](const std::byte* blocks, const std::vector<float>& want) {
    std::vector<float> got(want.size());
    format().decode(blocks, got.data(), got.size());
    const size_t block = format().block_elems;
    for (size_t at = 0; at < want.size(); at += block) {
      float largest = 0;
      for (size_t i = at; i < at + block; ++i) largest = std::max(largest, std::fabs(want[i]));
      for (size_t i = at; i < at + block; ++i) ASSERT_NEAR(got[i], want[i], 1e-6f * largest) << "element " << i;
    }
  });
}

// What is only read is held otherwise, with the same values.
TEST_P(FormatGolden, LoadsWithoutLoss) {
  if (!format().load) GTEST_SKIP() << GetParam() << " is held as it is";
  for_each_piece([&](const std::byte* blocks, const std::vector<float>& want) {
    std::vector<float> got(want.size()), own(want.size());
    std::vector<std::byte> held(row_bytes(format().loads_as, want.size()));
    format().load(blocks, held.data(), want.size());
    info(format().loads_as).decode(held.data(), got.data(), got.size());
    format().decode(blocks, own.data(), own.size());
    EXPECT_EQ(got, own);
  });
}

// Not the same bytes, but no larger an error in any row than ggml's own quantiser leaves, give or take a tenth. Without
// the last row, of -1, 0 and 1: ggml finds the scale that hits all three, the encoder of Q4_K does not look for it.
TEST_P(FormatGolden, EncodesAsWellAsGgml) {
  if (!format().writes()) GTEST_SKIP() << GetParam() << " is only read";
  const std::vector<float> source = numbers("source.f32", kRows * kCols);
  std::vector<float> own(source.size());
  std::vector<std::byte> blocks(n_bytes_);
  format().encode(source.data(), blocks.data(), source.size());
  format().decode(blocks.data(), own.data(), own.size());
  const std::vector<float> ggml = values(false);
  for (size_t r = 0; r + 1 < kRows; ++r) {
    double error = 0, bound = 0;
    for (size_t i = r * kCols; i < (r + 1) * kCols; ++i) {
      error += std::pow(double(own[i]) - source[i], 2);
      bound += std::pow(double(ggml[i]) - source[i], 2);
    }
    EXPECT_LE(std::sqrt(error), 1.1 * std::sqrt(bound) + 1e-6) << "row " << r;
  }
}

// Where columns differ in importance, no encoder loses by knowing it: the weighted error of most rows falls, of none
// does it rise by a tenth. The row of -1, 0 and 1 is exact either way in some formats.
TEST_P(FormatGolden, ImportanceLowersTheWeightedError) {
  if (!format().writes()) GTEST_SKIP() << GetParam() << " is only read";
  const std::vector<float> source = numbers("source.f32", kRows * kCols), importance = numbers("importance.f32", kCols);
  std::vector<std::byte> blocks(n_bytes_ / kRows);
  std::vector<float> got(kCols);
  int better = 0;
  for (size_t r = 0; r + 1 < kRows; ++r) {
    const float* x = &source[r * kCols];
    const auto weighted_error = [&](const float* weights) {
      format().encode(x, blocks.data(), kCols, weights);
      format().decode(blocks.data(), got.data(), kCols);
      double error = 0;
      for (size_t i = 0; i < kCols; ++i) error += importance[i] * std::pow(double(got[i]) - x[i], 2);
      return std::sqrt(error);
    };
    const double with = weighted_error(importance.data()), without = weighted_error(nullptr);
    EXPECT_LE(with, 1.1 * without) << "row " << r;
    better += with < without;
  }
  const bool nearest_anyway = GetParam() == "q8_0" || GetParam() == "mxfp4";
  EXPECT_GE(better, nearest_anyway ? 0 : 6);
}

std::vector<std::string> quantised() {
  std::vector<std::string> names;
  for (const Format& format : formats())
    if (format.reads() && !is_own(format.dtype) && !is_plain(format.dtype)) names.push_back(format.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, FormatGolden, ::testing::ValuesIn(quantised()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace hunch
