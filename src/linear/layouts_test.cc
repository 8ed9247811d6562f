#include "linear/layouts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "formats/format.h"
#include "kernels/strips.h"
#include "linear/together.h"

namespace hunch {
namespace {

// A view of more than any machine has, of which nothing may be read.
TEST(Layouts, CopiesLargerThanTheMachineAreRefusedBeforeTheyAreBegun) {
  Compute compute(1);
  Layouts layouts;
  const std::byte nothing[64] = {};
  const WeightView W{DType::kF16, nothing, 1 << 14, size_t{1} << 30, size_t{2} << 30};  // 35 TB
  Stored matrix({.role = Role::kDown}, W, {}, {}, layouts);
  const auto expect_refused = [&](const auto& action) {
    try {
      action();
      ADD_FAILURE() << "35 TB were there";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kMemory);
      for (const char* word : {"what a test wants", "35184.4 GB"})
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  const Layouts::TurnRequest request{&matrix, DType::kF16};
  expect_refused([&] { layouts.turn(compute, {&request, 1}, "what a test wants"); });
  Linear* const matrices[] = {&matrix};
  expect_refused([&] { layouts.store_by_input(compute, matrices, "what a test wants"); });
  EXPECT_TRUE(matrix.rows());
  EXPECT_FALSE(matrix.by_input());
}

TEST(Layouts, CopiesDoNotOverlap) {
  Compute compute(2);
  Layouts layouts;
  std::vector<std::vector<float>> values;
  std::vector<std::unique_ptr<Stored>> matrices;
  std::vector<Linear*> all;
  for (size_t i = 0; i < 40; ++i) {
    const size_t rows = 3 + i % 5, cols = 2 + i % 7;
    std::vector<float>& w = values.emplace_back(rows * cols);
    for (size_t j = 0; j < w.size(); ++j) w[j] = float(1000 * i + j);
    matrices.push_back(std::make_unique<Stored>(LinearId{.role = Role::kDown}, weight_view({w.data(), rows, cols}),
                                                WeightView(), std::vector<float>(), layouts));
    all.push_back(matrices.back().get());
  }
  layouts.store_by_input(compute, all, "a test");
  for (size_t i = 0; i < 40; ++i) {
    const WeightView turned = matrices[i]->by_input();
    ASSERT_EQ(turned.rows, 2 + i % 7);
    EXPECT_EQ(uintptr_t(turned.data) % 64, 0u);
    for (size_t c = 0; c < turned.rows; ++c)
      for (size_t r = 0; r < turned.cols; ++r)
        EXPECT_EQ(reinterpret_cast<const float*>(turned.row(c))[r], values[i][r * turned.rows + c]);
  }
}

// Groups of two rows of eight; a row costs 1, and each row that any token wants `first` more; all rows cost `all`.
TEST(Layouts, OwnGroupsAreReadWhereThatCostsLessThanAllRows) {
  Compute compute(1);
  Layouts layouts;
  std::vector<float> w(8 * 4, 1.0f);
  const Stored matrix({.role = Role::kQuery}, weight_view({w.data(), 8, 4}), WeightView(), {}, layouts);
  const Rows first = Rows::of({0}, 4), second = Rows::of({1}, 4), both = Rows::of({0, 1}, 4);
  const auto own_is_faster = [&](double all, std::vector<Rows> own) {
    RowCosts costs;
    costs.own_row = 1, costs.own_first = 2, costs.all = all;
    layouts.costs().fix(costs);
    return layouts.own_is_faster(compute, matrix, {own, 2});
  };
  EXPECT_TRUE(own_is_faster(8.5, {first, first}));  // 4 rows, 2 of them for the first time: 8
  EXPECT_FALSE(own_is_faster(7.5, {first, first}));
  EXPECT_FALSE(own_is_faster(11.5, {first, second}));  // 4 rows, all for the first time: 12
  EXPECT_TRUE(own_is_faster(12.5, {first, second}));
  EXPECT_FALSE(own_is_faster(12.5, {first, both}));         // 6 rows, 4 for the first time: 14
  EXPECT_FALSE(own_is_faster(1e9, {first, Rows::all(4)}));  // someone wants all
  EXPECT_TRUE(own_is_faster(0, {both}));                    // a token by itself
}

// A file of a quantised matrix [rows, cols], mapped.
struct MappedMatrix {
  std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "layouts_test.bin";
  MappedFile file;
  WeightView W;
  MappedMatrix(DType dtype, size_t rows, size_t cols) {
    std::vector<float> values(rows * cols);
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(float(i));
    std::vector<std::byte> bytes(rows * row_bytes(dtype, cols));
    info(dtype).encode(values.data(), bytes.data(), values.size());
    AtomicFile out(path);
    out.write(bytes);
    out.commit();
    file = MappedFile(path);
    W = {dtype, file.bytes().data(), rows, cols, row_bytes(dtype, cols)};
  }
  ~MappedMatrix() { std::filesystem::remove(path); }
};

std::vector<float> product(Compute& compute, const Linear& matrix) {
  std::vector<float> x(matrix.n_in), y(matrix.n_out);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(float(i));
  const TokenTraits token;
  matrix.dot(compute, {&token, 1}, {x.data(), 1, x.size()}, {}, {y.data(), 1, y.size()});
  return y;
}

class Interleaved : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, Interleaved, testing::Values(DType::kQ4_0, DType::kNF4, DType::kFP8),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST_P(Interleaved, MatricesKeepTheirRowsAndTheirProducts) {
  if (!multiplies_strips()) GTEST_SKIP() << "this SIMD target multiplies no strips";
  Compute compute(2);
  Layouts layouts;
  const MappedMatrix m(GetParam(), 1000, 256);  // several pages, given back, and the half of a last strip
  Stored matrix({.role = Role::kUp}, m.W, {}, {}, layouts);
  const std::vector<float> before = product(compute, matrix);
  Linear* const matrices[] = {&matrix, &matrix};
  const std::span<const std::byte> maps[] = {m.file.bytes()};
  layouts.interleave(compute, matrices, maps);
  ASSERT_TRUE(matrix.rows().strips);
  const std::byte* const strips = matrix.rows().strips;
  layouts.interleave(compute, matrices, maps);
  EXPECT_EQ(matrix.rows().strips, strips) << "made twice";
  EXPECT_EQ(matrix.rows().data, m.W.data) << "chosen rows are gathered from the file";
  const std::vector<float> after = product(compute, matrix);
  for (size_t r = 0; r < before.size(); ++r) EXPECT_NEAR(after[r], before[r], 1e-4f) << r;
  const Rows some = Rows::of({3, 500, 999}, 1000);
  std::vector<float> x(256), y(1000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(float(i));
  const TokenTraits token;
  matrix.dot(compute, {&token, 1}, {x.data(), 1, x.size()}, {{&some, 1}, 1}, {y.data(), 1, y.size()});
  for (const size_t r : {3, 500, 999}) EXPECT_NEAR(y[r], before[r], 1e-4f);
  // Groups of ten rows, as of heads, which begin and end within strips: the bits of the whole product.
  std::vector<PartialProduct> groups;
  for (const size_t first : {size_t(0), size_t(10), size_t(480), size_t(990)}) {
    std::fill_n(&y[first], 10, 777.0f);
    groups.push_back({&matrix, first, 0, MatView<float>(&y[first], 1, 10)});
  }
  dot_parts(compute, {&token, 1}, {x.data(), 1, x.size()}, groups);
  for (const PartialProduct& group : groups)
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(group.Y.row(0)[i], after[group.first_row + i]) << group.first_row + i;
  layouts.hold(compute, matrices, maps);  // a plan that chooses rows, after one that did not
  EXPECT_NE(matrix.rows().data, m.W.data);
  EXPECT_EQ(matrix.rows().strips, strips);
}

TEST(Layouts, HeldRowsAreTheFilesAndNoLongerInIt) {
  Compute compute(2);
  Layouts layouts;
  const MappedMatrix m(DType::kQ8_0, 300, 64);
  Stored matrix({.role = Role::kUp}, m.W, {}, {}, layouts), turned({.role = Role::kDown}, {}, m.W, {}, layouts);
  Linear* const matrices[] = {&matrix, &turned};
  layouts.hold(compute, matrices, {});
  EXPECT_EQ(matrix.rows().data, m.W.data) << "it lies in no map";
  const std::span<const std::byte> maps[] = {m.file.bytes()};
  layouts.hold(compute, matrices, maps);
  for (const WeightView& held : {matrix.rows(), turned.by_input()}) {
    EXPECT_NE(held.data, m.W.data);
    for (size_t r = 0; r < 300; ++r) EXPECT_EQ(0, std::memcmp(held.row(r), m.W.row(r), row_bytes(DType::kQ8_0, 64)));
  }
}

}  // namespace
}  // namespace hunch
