#include "kernels/column_blocks.h"

#include <gtest/gtest.h>

#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

// Widths of one block: around a vector where every number will do, else whole blocks of the dtype.
std::vector<size_t> some_widths(DType dtype) {
  const uint32_t block = info(dtype).block_elems;
  if (block == 1) return {1, 7, 16, 33, 64, 128};
  if (block == 32) return {32, 64, 96, 128};
  return {256};
}

const std::vector<std::vector<uint32_t>> kSelections = {{}, {0}, {4}, {1, 3}, {0, 2, 3}, {0, 1, 2, 3, 4}};
constexpr size_t kBlocks = 5;

void expect_product(Compute& compute, DType dtype, size_t n_rows, size_t width, size_t padding, bool block_major) {
  const TestMatrix W = random_matrix(dtype, n_rows, kBlocks * width, padding, uint32_t(width));
  const std::vector<float> x = normal_values(kBlocks * width, 5), bias = normal_values(n_rows, 6),
                           seen = input_as_seen(dtype, x);
  ColumnBlocks blocks = column_blocks(W.view, kBlocks);
  std::vector<std::byte> memory(block_major_bytes(blocks));
  if (block_major) blocks = to_block_major(compute, blocks, memory.data());
  for (const std::vector<uint32_t>& ids : kSelections) {
    for (const bool with_bias : {true, false}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + " rows " + std::to_string(n_rows) + " width " + std::to_string(width) +
                   " blocks " + std::to_string(ids.size()) + (block_major ? " block-major" : ""));
      const std::span<const float> b = with_bias ? std::span<const float>(bias) : std::span<const float>();
      std::vector<float> got(n_rows, 777.0f), want(n_rows);
      dot_column_blocks(compute, blocks, ids, x, b, got);
      ref::dot_column_blocks(blocks, ids, seen, b, want);
      for (size_t r = 0; r < n_rows; ++r)
        ASSERT_NEAR(got[r], want[r], tolerance(W, r, seen) + 1e-6f * std::fabs(bias[r])) << r;
    }
  }
}

TEST(ColumnBlocks, MatchesReferenceOnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    for (const DType dtype : computing_types())
      for (const size_t width : some_widths(dtype))
        for (const bool block_major : {false, true})
          expect_product(compute, dtype, 37, width, is_plain(dtype) ? 12 : 10, block_major);
  });
}

TEST(ColumnBlocks, MatchesReferenceForEveryNumberOfRowsAndThreads) {
  for (const size_t n_threads : {1, 3}) {
    Compute compute(n_threads);
    for (const DType dtype : {DType::kF32, DType::kQ4_0})
      for (const size_t n_rows : {1, 2, 7, 8, 9, 31, 64, 300})
        for (const bool block_major : {false, true}) expect_product(compute, dtype, n_rows, 64, 0, block_major);
  }
}

// What is not selected is not read: neither weights nor x.
TEST(ColumnBlocks, UnselectedBlocksDoNotMatter) {
  Compute compute(1);
  std::vector<float> w(3 * 4 * 8, 1.0f), x(4 * 8, 1.0f), y(3);
  for (size_t r = 0; r < 3; ++r)
    for (size_t i = 0; i < 8; ++i) w[r * 32 + 8 + i] = NAN, x[8 + i] = NAN;
  const std::vector<uint32_t> ids = {0, 2, 3};
  dot_column_blocks(compute, column_blocks(weight_view({w.data(), 3, 32}), 4), ids, x, {}, y);
  EXPECT_EQ(y, std::vector<float>(3, 24.0f));
}

TEST(ColumnBlocks, WhatCannotBeCut) {
  EXPECT_TRUE(can_cut_columns(DType::kF16, 40));
  EXPECT_TRUE(can_cut_columns(DType::kQ4_0, 96));
  EXPECT_FALSE(can_cut_columns(DType::kQ4_0, 80));
  EXPECT_FALSE(can_cut_columns(DType::kQ4_K, 128));
  EXPECT_FALSE(can_cut_columns(DType::kF32, 0));
}

}  // namespace
}  // namespace hunch
