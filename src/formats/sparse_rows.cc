#include "formats/sparse_rows.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "formats/q4_0.h"
#include "formats/q8_0.h"

namespace hunch {
namespace {

// A row's numbers without their scales: codes of q8_0 (q4_0's too, as -8 .. 7), or the bits of f16.
struct Numbers {
  std::vector<int16_t> code;    // [cols]
  std::vector<uint16_t> scale;  // [cols / 32], of blocks

  explicit Numbers(size_t cols) : code(cols), scale(cols / 32) {}
  void read(DType dtype, const std::byte* blocks) {
    const size_t n_blocks = scale.size();
    if (dtype == DType::kF16) {
      std::memcpy(code.data(), blocks, 2 * code.size());
      for (int16_t& c : code)
        if (uint16_t(c) == 0x8000) c = 0;
    }
    for (size_t b = 0; dtype == DType::kQ8_0 && b < n_blocks; ++b) {
      format::Q8_0::Block block;
      std::memcpy(&block, blocks + b * sizeof block, sizeof block);
      scale[b] = block.d.bits;
      for (size_t j = 0; j < 32; ++j) code[32 * b + j] = block.q[j];
    }
    for (size_t b = 0; dtype == DType::kQ4_0 && b < n_blocks; ++b) {
      format::Q4_0::Block block;
      std::memcpy(&block, blocks + b * sizeof block, sizeof block);
      scale[b] = block.d.bits;
      for (size_t j = 0; j < 16; ++j) {
        code[32 * b + j] = int16_t((block.q[j] & 15) - 8);
        code[32 * b + j + 16] = int16_t((block.q[j] >> 4) - 8);
      }
    }
    // A block of scale 0 is zeros whatever its codes are.
    for (size_t b = 0; dtype != DType::kF16 && b < n_blocks; ++b)
      if ((scale[b] & 0x7fff) == 0)
        for (size_t j = 0; j < 32; ++j) code[32 * b + j] = 0;
  }
  bool is_zero(size_t block) const {
    for (size_t j = 0; j < 32; ++j)
      if (code[32 * block + j]) return false;
    return true;
  }
  // The scale of blocks [first, first + n), of which those of zeros may have any; none where they differ.
  std::optional<uint16_t> common(size_t first, size_t n) const {
    std::optional<uint16_t> found;
    for (size_t b = first; b < first + n; ++b) {
      if (is_zero(b)) continue;
      if (found && *found != scale[b]) return std::nullopt;
      found = scale[b];
    }
    return found.value_or(0);
  }
};

void expand(const SparseRows& W, size_t r, const std::byte* values, Numbers& out) {
  const std::byte* mask = W.mask_row(r);
  size_t n = 0;
  for (size_t c = 0; c < W.cols; ++c) {
    const bool is_set = std::to_integer<unsigned>(mask[c / 8]) >> c % 8 & 1;
    out.code[c] = 0;
    if (!is_set) continue;
    if (W.dtype == DType::kF16) {
      std::memcpy(&out.code[c], values + 2 * n, 2);
    } else if (W.dtype == DType::kQ8_0) {
      out.code[c] = int8_t(values[n]);
    } else {
      out.code[c] = int16_t((std::to_integer<int>(values[n / 2]) >> (n % 2 ? 4 : 0) & 15) - 8);
    }
    ++n;
  }
  for (size_t b = 0; W.span && b < W.cols / 32; ++b)
    std::memcpy(&out.scale[b], W.scales + 2 * (r * (W.cols / W.span) + 32 * b / W.span), 2);
}

}  // namespace

bool has_sparse_rows(DType dtype) { return dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kF16; }

size_t sparse_value_bytes(DType dtype, size_t n) {
  return dtype == DType::kF16 ? 2 * n : dtype == DType::kQ8_0 ? n : (n + 1) / 2;
}

size_t count_bits(const std::byte* mask, size_t n) {
  size_t count = 0, i = 0;
  for (uint64_t word; i + 8 <= n; i += 8) {
    std::memcpy(&word, mask + i, 8);
    count += size_t(std::popcount(word));
  }
  for (; i < n; ++i) count += size_t(std::popcount(std::to_integer<unsigned>(mask[i])));
  return count;
}

std::vector<size_t> sparse_offsets(const SparseRows& W) {
  std::vector<size_t> offsets(W.rows + 1, 0);
  for (size_t r = 0; r < W.rows; ++r)
    offsets[r + 1] = offsets[r] + sparse_value_bytes(W.dtype, count_bits(W.mask_row(r), W.cols / 8));
  return offsets;
}

void decode_sparse_row(const SparseRows& W, size_t r, const std::byte* values, float* out) {
  Numbers numbers(W.cols);
  expand(W, r, values, numbers);
  for (size_t c = 0; c < W.cols; ++c)
    out[c] = W.dtype == DType::kF16 ? to_f32(f16{uint16_t(numbers.code[c])})
                                    : to_f32(f16{numbers.scale[c / 32]}) * float(numbers.code[c]);
}

void sparse_row_to_blocks(const SparseRows& W, size_t r, const std::byte* values, std::byte* blocks) {
  Numbers numbers(W.cols);
  expand(W, r, values, numbers);
  if (W.dtype == DType::kF16) std::memcpy(blocks, numbers.code.data(), 2 * W.cols);
  for (size_t b = 0; W.dtype == DType::kQ8_0 && b < W.cols / 32; ++b) {
    format::Q8_0::Block block{{numbers.scale[b]}, {}};
    for (size_t j = 0; j < 32; ++j) block.q[j] = int8_t(numbers.code[32 * b + j]);
    std::memcpy(blocks + b * sizeof block, &block, sizeof block);
  }
  for (size_t b = 0; W.dtype == DType::kQ4_0 && b < W.cols / 32; ++b) {
    format::Q4_0::Block block{{numbers.scale[b]}, {}};
    const int16_t* code = &numbers.code[32 * b];
    for (size_t j = 0; j < 16; ++j) block.q[j] = uint8_t((code[j] + 8) | (code[j + 16] + 8) << 4);
    std::memcpy(blocks + b * sizeof block, &block, sizeof block);
  }
}

size_t sparse_span(const WeightView& W) {
  HUNCH_CHECK(has_sparse_rows(W.dtype) && W.cols % 32 == 0, "sparse rows of {}", name_of(W.dtype));
  if (W.dtype == DType::kF16) return 0;
  size_t best = W.cols;
  Numbers numbers(W.cols);
  for (size_t r = 0; r < W.rows && best > 32; ++r) {
    numbers.read(W.dtype, W.row(r));
    const auto fits = [&](size_t span) {
      for (size_t c = 0; c < W.cols; c += span)
        if (!numbers.common(c / 32, span / 32)) return false;
      return true;
    };
    for (size_t span = best; !fits(best); best = span) {
      do span = span > 128 ? 128 : span > 64 ? 64 : 32;
      while (W.cols % span != 0);
    }
  }
  return best;
}

size_t count_nonzero(const WeightView& W, size_t r) {
  Numbers numbers(W.cols);
  numbers.read(W.dtype, W.row(r));
  size_t n = 0;
  for (const int16_t c : numbers.code) n += c != 0;
  return n;
}

void sparse_row_of_blocks(const WeightView& W, size_t r, size_t span, std::byte* mask, std::byte* scales,
                          std::byte* values) {
  Numbers numbers(W.cols);
  numbers.read(W.dtype, W.row(r));
  std::memset(mask, 0, W.cols / 8);
  size_t n = 0;
  for (size_t c = 0; c < W.cols; ++c) {
    const int16_t code = numbers.code[c];
    if (code == 0) continue;
    mask[c / 8] |= std::byte(1u << c % 8);
    if (W.dtype == DType::kF16) {
      std::memcpy(values + 2 * n, &code, 2);
    } else if (W.dtype == DType::kQ8_0) {
      values[n] = std::byte(code);
    } else {
      values[n / 2] = n % 2 ? values[n / 2] | std::byte((code + 8) << 4) : std::byte(code + 8);
    }
    ++n;
  }
  for (size_t c = 0; span && c < W.cols; c += span) {
    const std::optional<uint16_t> scale = numbers.common(c / 32, span / 32);
    HUNCH_CHECK(scale, "scales differ within {} columns", span);
    std::memcpy(scales + 2 * (c / span), &*scale, 2);
  }
}

}  // namespace hunch
