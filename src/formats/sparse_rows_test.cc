#include "formats/sparse_rows.h"

#include <gtest/gtest.h>

#include "formats/test_sparse.h"

namespace hunch {
namespace {

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kF16};
constexpr Zeros kZeros[] = {Zeros::kTwoOfFour, Zeros::kHalf, Zeros::kMost, Zeros::kNone, Zeros::kAll};

TEST(SparseRows, GoBackToTheBlocksThatTheyWereMadeOf) {
  for (const DType dtype : kTypes)
    for (const Zeros zeros : kZeros)
      for (const size_t span : {32, 64, 128, 384}) {
        const PrunedMatrix m(dtype, 5, 384, zeros, span, uint32_t(span));
        if (dtype != DType::kF16) {
          EXPECT_EQ(m.rows.span, zeros == Zeros::kAll && span == 32 ? 384 : span);
        }
        const std::vector<size_t> offsets = sparse_offsets(m.rows);
        ASSERT_EQ(offsets.back(), m.values.size());
        std::vector<std::byte> back(m.dense.row_stride_bytes);
        std::vector<float> want(384), got(384);
        for (size_t r = 0; r < 5; ++r) {
          sparse_row_to_blocks(m.rows, r, m.values.data() + offsets[r], back.data());
          codec(dtype).decode(m.dense.row(r), want.data(), want.size());
          codec(dtype).decode(back.data(), got.data(), got.size());
          ASSERT_EQ(got, want) << name_of(dtype) << " " << span;
          if (zeros != Zeros::kAll) {  // where blocks of zeros have any scale
            ASSERT_EQ(0, std::memcmp(back.data(), m.dense.row(r), back.size())) << name_of(dtype) << " " << span;
          }
          decode_sparse_row(m.rows, r, m.values.data() + offsets[r], got.data());
          ASSERT_EQ(got, want) << name_of(dtype) << " " << span;
        }
      }
}

TEST(SparseRows, TakeABitAndTheirValues) {
  const PrunedMatrix m(DType::kQ8_0, 1, 256, Zeros::kTwoOfFour, 128, 1);
  EXPECT_EQ(m.mask.size(), 32u);
  EXPECT_EQ(m.scales.size(), 4u);
  EXPECT_LE(m.values.size(), 128u);
  EXPECT_EQ(m.values.size(), count_nonzero(m.dense, 0));
  EXPECT_EQ(sparse_value_bytes(DType::kQ4_0, 3), 2u);
  EXPECT_EQ(sparse_value_bytes(DType::kF16, 3), 6u);
}

// A block of zeros has any scale; one of scale 0 is zeros whatever its codes are, and -0 is 0.
TEST(SparseRows, WhatIsZeroIsLeftOut) {
  std::vector<float> w(128, 0.0f);
  w[5] = 2, w[70] = 2, w[100] = 2;
  std::vector<std::byte> blocks(row_bytes(DType::kQ8_0, 128));
  info(DType::kQ8_0).encode(w.data(), blocks.data(), 128);
  blocks[34 + 7] = std::byte(9);  // the second block, of scale 0
  const WeightView W{DType::kQ8_0, blocks.data(), 1, 128, blocks.size()};
  EXPECT_EQ(count_nonzero(W, 0), 3u);
  EXPECT_EQ(sparse_span(W), 128u);
  // Of three blocks either all share a scale or each has its own.
  for (size_t c = 0; c < 128; ++c) w[c] = c < 32 ? 1.0f : 2.0f;
  info(DType::kQ8_0).encode(w.data(), blocks.data(), 128);
  EXPECT_EQ(sparse_span({DType::kQ8_0, blocks.data(), 1, 96, 102}), 32u);
  EXPECT_EQ(sparse_span({DType::kQ8_0, blocks.data() + 34, 1, 96, 102}), 96u);
  const uint16_t halves[32] = {0x8000, 0, 0x3c00};
  EXPECT_EQ(count_nonzero({DType::kF16, reinterpret_cast<const std::byte*>(halves), 1, 32, 64}, 0), 1u);
}

}  // namespace
}  // namespace hunch
