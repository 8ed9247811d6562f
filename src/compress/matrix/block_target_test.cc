#include "compress/matrix/block_target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "compress/matrix/gptq.h"
#include "formats/format.h"
#include "linear/values.h"

namespace hunch {
namespace {

Matrix random_matrix(size_t rows, size_t cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Matrix W(rows, cols);
  for (float& v : W.values) v = normal(rng);
  return W;
}

Matrix make_second_moment(size_t n_in, size_t n_tokens) {
  std::mt19937 rng(8);
  std::normal_distribution<float> normal;
  Matrix H(n_in, n_in);
  for (size_t t = 0; t < n_tokens; ++t) {
    std::vector<float> x(n_in);
    float last = 0;
    for (float& v : x) v = last = 0.9f * last + normal(rng);
    for (size_t i = 0; i < n_in; ++i)
      for (size_t j = 0; j < n_in; ++j) H.row(i)[j] += x[i] * x[j];
  }
  return H;
}

const Matrix& second_moment() {
  static const Matrix H = make_second_moment(256, 300);
  return H;
}

Matrix decoded(const EncodedMatrix& E) {
  Compute compute(1);
  Matrix out(E.rows, E.cols);
  decode_rows(compute, E.view(), out.view());
  return out;
}

double error(const Matrix& A, const Matrix& B, const Matrix& H) {
  double sum = 0;
  for (size_t r = 0; r < A.rows; ++r)
    for (size_t i = 0; i < A.cols; ++i)
      for (size_t j = 0; j < A.cols; ++j)
        sum += double(A.row(r)[i] - B.row(r)[i]) * H.row(i)[j] * (A.row(r)[j] - B.row(r)[j]);
  return sum;
}

class EveryLayout : public ::testing::TestWithParam<DType> {};

// A block of chosen codes decodes to a line over them, of each 16 values.
TEST_P(EveryLayout, CodesLieWhereTheDecoderReadsThem) {
  const CodeLayout& layout = *find_code_layout(GetParam());
  const Format& format = info(GetParam());
  const Matrix W = random_matrix(1, 256, 3);
  std::vector<std::byte> block(format.block_bytes);
  format.encode(W.values.data(), block.data(), format.block_elems);
  std::mt19937 rng(1);
  std::vector<int> codes(format.block_elems);
  for (int round = 0; round < 3; ++round) {
    std::vector<float> ends[2], got(format.block_elems);
    for (const int end : {0, 1}) {
      for (size_t i = 0; i < format.block_elems; ++i) layout.put(block.data(), i, end ? layout.max_code : 0);
      ends[end].resize(format.block_elems);
      format.decode(block.data(), ends[end].data(), format.block_elems);
    }
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = int(rng() % unsigned(layout.max_code + 1));
    for (size_t i = 0; i < codes.size(); ++i) layout.put(block.data(), i, codes[i]);
    format.decode(block.data(), got.data(), format.block_elems);
    for (size_t i = 0; i < codes.size(); ++i) {
      const float share = float(codes[i]) / float(layout.max_code);
      EXPECT_NEAR(got[i], ends[0][i] + share * (ends[1][i] - ends[0][i]), 1e-5f) << i;
      EXPECT_EQ(ends[0][i], ends[0][i / 16 * 16]);
    }
  }
}

// With inputs that do not depend on each other the sweep is rounding to the nearest.
TEST_P(EveryLayout, WithoutCorrelationsTheSweepRounds) {
  Compute compute(2);
  const Matrix W = random_matrix(5, 512, 2);
  Matrix H(512, 512);
  for (size_t i = 0; i < 512; ++i) H.row(i)[i] = 1;
  const InverseHessian inverse = invert_hessian(H, {});
  BlockRule rule(W, inverse, {GetParam(), {}}, false);
  Matrix open = W;
  sweep_columns(compute, inverse, 128, rule, open);
  const Matrix got = decoded(rule.out), nearest = decoded(encode_nearest(compute, W, {GetParam(), {}}));
  double swept = 0, rounded = 0;
  for (size_t i = 0; i < W.values.size(); ++i) {
    EXPECT_NEAR(got.values[i], open.values[i], 1e-5f) << "what the sweep believes is what is stored";
    swept += std::pow(got.values[i] - W.values[i], 2), rounded += std::pow(nearest.values[i] - W.values[i], 2);
  }
  EXPECT_LE(swept, rounded * 1.0001) << "the encoder's scales, and codes at least as near";
}

TEST_P(EveryLayout, TheSweepIsBetterThanRounding) {
  Compute compute(2);
  const Matrix W = random_matrix(8, 256, 2), H = second_moment();
  for (const bool act_order : {false, true}) {
    const InverseHessian inverse = invert_hessian(H, {0.01, act_order});
    BlockRule rule(W, inverse, {GetParam(), {}}, false);
    Matrix open = in_sweep_order(W, inverse);
    sweep_columns(compute, inverse, 64, rule, open);
    EXPECT_LT(error(W, decoded(rule.out), H), 0.6 * error(W, decoded(encode_nearest(compute, W, {GetParam(), {}})), H));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryLayout,
                         ::testing::Values(DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                           DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K),
                         [](const auto& info) { return std::string(name_of(info.param)); });

// Grids in blocks are GPTQ's own, but for scales of f16.
TEST(BlockTarget, HoldsGridsOfGroups) {
  Compute compute(2);
  const Matrix W = random_matrix(6, 128, 5), H = make_second_moment(128, 200);
  const InverseHessian inverse = invert_hessian(H, {});
  for (const bool symmetric : {false, true})
    for (const int bits : {2, 3, 4, 5})
      for (const size_t group : {32, 64, 0}) {
        SCOPED_TRACE(fmt::format("{} bits, groups of {}, {}symmetric", bits, group, symmetric ? "" : "not "));
        GptqOptions options;
        options.grid = {bits, symmetric, group, false};
        const BlockTarget target = target_of(options.grid);
        const Matrix plain = round_to_nearest(W, options.grid).values,
                     nearest = decoded(encode_nearest(compute, W, target));
        size_t n_other_code =
            0;  // near ties, which the rounding of scales decides: of a symmetric group the largest always
        for (size_t i = 0; i < W.values.size(); ++i)
          n_other_code += std::abs(nearest.values[i] - plain.values[i]) > 6e-3f;
        EXPECT_LE(n_other_code, symmetric ? W.values.size() / (group ? group : 128) : W.values.size() / 100);
        BlockRule rule(W, inverse, target, false);
        Matrix open = W;
        sweep_columns(compute, inverse, 128, rule, open);
        const double want = error(W, gptq(compute, W, inverse, options).values, H);
        EXPECT_NEAR(error(W, decoded(rule.out), H) / want, 1, 0.2);
        std::vector<float> row = W.values;
        row.resize(128);
        round_in_place(target, row);
        EXPECT_TRUE(std::ranges::equal(row, std::span(nearest.values).first(128)));
      }
}

TEST(BlockTarget, ZeroStaysZeroWithoutAMinimum) {
  Compute compute(1);
  Matrix W = random_matrix(4, 256, 6);
  const Matrix H = second_moment();
  const InverseHessian inverse = invert_hessian(H, {});
  for (size_t i = 0; i < W.values.size(); i += 3) W.values[i] = 0;
  struct KeepZeros : ColumnRule {
    KeepZeros(const Matrix& W, ColumnRule& inner) : W(W), inner(inner) {}
    float settle(const Place& p, float w) override { return inner.settle(p, W.row(p.row)[p.column] == 0 ? 0 : w); }
    const Matrix& W;
    ColumnRule& inner;
  };
  std::vector<BlockTarget> targets = {target_of({3, true, 64, false}), target_of({4, true, 0, false}),
                                      target_of({8, true, 32, false})};
  for (DType dtype : {DType::kQ4_0, DType::kQ5_0, DType::kQ8_0, DType::kQ3_K, DType::kQ6_K})
    targets.push_back({dtype, {}});
  for (const BlockTarget& target : targets) {
    BlockRule block(W, inverse, target, false);
    KeepZeros rule(W, block);
    Matrix open = W;
    sweep_columns(compute, inverse, 128, rule, open);
    for (const Matrix& got : {decoded(block.out), decoded(encode_nearest(compute, W, target))})
      for (size_t i = 0; i < W.values.size(); i += 3) ASSERT_EQ(got.values[i], 0) << name_of(target.dtype);
  }
}

TEST(BlockTarget, SaysWhatNoFormatHolds) {
  EXPECT_THROW(target_of({6, false, 32, false}), Error);
  EXPECT_THROW(target_of({4, false, 48, false}), Error);
  EXPECT_THROW(target_of({9, true, 32, false}), Error);
  EXPECT_THROW(fitting(target_of({4, false, 64, false}), 96), Error);
  EXPECT_EQ(fitting({DType::kQ3_K, {}}, 96).dtype, DType::kQ4_0);
}

}  // namespace
}  // namespace hunch
