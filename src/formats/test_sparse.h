// For tests: pruned matrices, as blocks and as sparse rows.
#pragma once
#include <cstring>
#include <random>
#include <vector>

#include "formats/format.h"
#include "formats/sparse_rows.h"

namespace hunch {

enum class Zeros { kTwoOfFour, kHalf, kMost, kNone, kAll };

// A matrix whose blocks share scales in `span` columns (32: in none), pruned, and its sparse rows, which are exactly as
// long as they need to be: ASan sees every over-read.
struct PrunedMatrix {
  std::vector<std::byte> blocks, mask, values, scales;
  WeightView dense;
  SparseRows rows;

  PrunedMatrix(DType dtype, size_t n_out, size_t n_in, Zeros zeros, size_t span, uint32_t seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    const size_t stride = row_bytes(dtype, n_in);
    blocks.resize(n_out * stride);
    dense = {dtype, blocks.data(), n_out, n_in, stride};
    std::vector<float> w(n_in);
    for (size_t r = 0; r < n_out; ++r) {
      for (float& v : w) v = is_kept(zeros, rng) ? normal(rng) : 0;
      for (size_t c = 0; zeros == Zeros::kTwoOfFour && c < n_in; c += 4) {
        const size_t first = rng() % 4, second = (first + 1 + rng() % 3) % 4;  // of four: those that stay
        for (size_t j = 0; j < 4; ++j)
          if (j != first && j != second) w[c + j] = 0;
      }
      // The same largest value in every block that shares a scale, which is then the same.
      for (size_t c = 0; zeros != Zeros::kAll && c < n_in; c += 32) {
        w[c] = -5.0f - float(c / span % 3);
        if (zeros == Zeros::kTwoOfFour) w[c + 2] = w[c + 3] = 0;
      }
      info(dtype).encode(w.data(), blocks.data() + r * stride, n_in);
    }
    sparse(span == 32 ? 0 : span);
  }

  // Its sparse rows, with the spans that it has or those given.
  void sparse(size_t span) {
    const size_t n_out = dense.rows, n_in = dense.cols;
    rows = {dense.dtype, n_out, n_in, span && dense.dtype != DType::kF16 ? span : sparse_span(dense)};
    const size_t mask_stride = n_in / 8, scale_stride = rows.span ? n_in / rows.span * 2 : 0;
    mask.resize(n_out * mask_stride);
    scales.resize(n_out * scale_stride);
    for (size_t r = 0; r < n_out; ++r) {
      std::vector<std::byte> own(sparse_value_bytes(dense.dtype, count_nonzero(dense, r)));
      sparse_row_of_blocks(dense, r, rows.span, mask.data() + r * mask_stride, scales.data() + r * scale_stride,
                           own.data());
      values.insert(values.end(), own.begin(), own.end());
    }
    mask.shrink_to_fit(), values.shrink_to_fit(), scales.shrink_to_fit();
    rows.mask = mask.data(), rows.values = values.data(), rows.scales = scales.data();
  }

 private:
  static bool is_kept(Zeros zeros, std::mt19937& rng) {
    switch (zeros) {
      case Zeros::kTwoOfFour: return rng() % 16;
      case Zeros::kHalf: return rng() % 2;
      case Zeros::kMost: return rng() % 10 == 0;
      case Zeros::kNone: return true;
      default: return false;
    }
  }
};

}  // namespace hunch
