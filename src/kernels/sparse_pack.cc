#include "kernels/sparse_pack.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "formats/q4_0.h"
#include "formats/q8_0.h"
#include "formats/strip_shape.h"
#include "kernels/sparse/blocks.h"

namespace hunch {
namespace {

constexpr size_t kMaskBytes = MaskedBlocks::kMaskBytes;

// Which of kPairs has the columns of a nibble with at most two bits.
constexpr auto kPairOf = [] {
  std::array<uint8_t, 16> pair_of{};
  for (size_t p = kPairs.size(); p-- > 0;)
    for (unsigned nibble = 0; nibble < 16; ++nibble)
      if ((nibble & ~(1u << kPairs[p][0] | 1u << kPairs[p][1])) == 0) pair_of[nibble] = uint8_t(p);
  return pair_of;
}();

template <class T>
T at(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

uint32_t mask_of(const SparseRows& W, size_t r, size_t block) {
  return r < W.rows ? at<uint32_t>(W.mask_row(r) + 4 * block) : 0;
}

bool is_two_of_four(const SparseRows& W, size_t r) {
  for (size_t c = 0; c < W.cols / 8; ++c) {
    const auto byte = std::to_integer<unsigned>(W.mask_row(r)[c]);
    if (std::popcount(byte & 15) > 2 || std::popcount(byte >> 4) > 2) return false;
  }
  return true;
}

size_t nibble_bytes(unsigned n) { return (n + 1) / 2; }

// Mask k of a block, q8_0 and q4_0.
uint64_t line_mask(const uint32_t (&mask)[kStripRows], size_t k) {
  uint64_t line = 0;
  for (size_t r = 0; r < kStripRows; ++r) line |= uint64_t(mask[r] >> 4 * k & 15) << 4 * r;
  return line;
}

// Where two of four stand in a block.
struct PairPlace {
  size_t k, row;  // columns 4 k .. 4 k + 3
  size_t pattern_byte() const { return k / 2 * kPatternBytesOf8 + bit() / 8; }
  size_t pattern_shift() const { return bit() % 8; }  // a pattern may reach into the next byte
  // Of value j: its byte among the values, and its place there.
  size_t value_byte(DType dtype, size_t j) const {
    const size_t at = 4 * row + k % 2 * 2 + j;
    return dtype == DType::kQ8_0 ? k / 2 * 64 + at : k / 4 * 64 + at;
  }
  unsigned value_shift(DType dtype) const { return dtype == DType::kQ4_0 && k / 2 % 2 ? 4 : 0; }

 private:
  size_t bit() const { return 6 * row + k % 2 * 3; }
};

// The mask of column c of a block, f16.
uint16_t column_mask(const uint32_t (&mask)[kStripRows], size_t c) {
  uint16_t line = 0;
  for (size_t r = 0; r < kStripRows; ++r) line |= uint16_t((mask[r] >> c & 1) << r);
  return line;
}

size_t block_bytes(const SparseStrips& W, const uint32_t (&mask)[kStripRows]) {
  if (W.two_of_four) return pair_block_bytes(W.dtype == DType::kQ4_0);
  size_t n = kMaskBytes;
  if (W.dtype == DType::kQ4_0) {
    for (size_t k = 0; k < 8; ++k) n += nibble_bytes(unsigned(std::popcount(line_mask(mask, k))));
  } else {
    for (const uint32_t m : mask) n += sparse_value_bytes(W.dtype, size_t(std::popcount(m)));
  }
  return n;
}

// A row's values as they come: the codes of a block's 32 columns (or the bits of f16), 0 where there is none.
class ValueReader {
 public:
  ValueReader(DType dtype, const std::byte* values) : dtype_(dtype), values_(values) {}
  void next(uint32_t mask, int (&code)[32]) {
    std::fill_n(code, 32, 0);
    for (; mask; mask &= mask - 1, ++n_) {
      int& c = code[std::countr_zero(mask)];
      if (dtype_ == DType::kF16) {
        c = at<uint16_t>(values_ + 2 * n_);
      } else if (dtype_ == DType::kQ8_0) {
        c = int8_t(values_[n_]);
      } else {
        c = (std::to_integer<int>(values_[n_ / 2]) >> (n_ % 2 ? 4 : 0) & 15) - 8;
      }
    }
  }

 private:
  DType dtype_;
  const std::byte* values_;
  size_t n_ = 0;
};

// Bytes, or nibbles of which each run() begins with a whole byte.
class ValueWriter {
 public:
  ValueWriter(DType dtype, std::byte* to) : dtype_(dtype), to_(to) {}
  void put(int code) {
    if (dtype_ == DType::kF16) {
      const auto half = uint16_t(code);
      std::memcpy(to_, &half, 2);
      to_ += 2;
    } else if (dtype_ == DType::kQ8_0) {
      *to_++ = std::byte(code + 128);
    } else if (half_) {
      *to_++ |= std::byte((code + 8) << 4);
      half_ = false;
    } else {
      *to_ = std::byte(code + 8);
      half_ = true;
    }
  }
  void end_run() {
    to_ += half_;
    half_ = false;
  }
  std::byte* end() const { return to_; }

 private:
  DType dtype_;
  std::byte* to_;
  bool half_ = false;
};

// A block of two of four; returns its end.
std::byte* pack_pairs(DType dtype, const uint32_t (&mask)[kStripRows], const int (&code)[kStripRows][32],
                      std::byte* out) {
  std::byte* values = out + kPatternBytes;
  const size_t n_value_bytes = dtype == DType::kQ8_0 ? 256 : 128;
  const int offset = dtype == DType::kQ8_0 ? 128 : 8;
  std::memset(out, 0, kPatternBytes + n_value_bytes);
  for (size_t k = 0; k < 8; ++k)
    for (size_t r = 0; r < kStripRows; ++r) {
      const PairPlace place{k, r};
      const unsigned pair = kPairOf[mask[r] >> 4 * k & 15];
      const unsigned bits = pair << place.pattern_shift();
      out[place.pattern_byte()] |= std::byte(bits);
      if (bits > 255) out[place.pattern_byte() + 1] |= std::byte(bits >> 8);
      for (size_t j = 0; j < 2; ++j)
        values[place.value_byte(dtype, j)] |=
            std::byte(unsigned(code[r][4 * k + kPairs[pair][j]] + offset) << place.value_shift(dtype));
    }
  return values + n_value_bytes;
}

// A block's masks.
void pack_masks(DType dtype, const uint32_t (&mask)[kStripRows], std::byte* out) {
  if (dtype == DType::kF16) {
    for (size_t c = 0; c < 32; ++c) {
      const uint16_t line = column_mask(mask, c);
      std::memcpy(out + 2 * c, &line, 2);
    }
  } else {
    for (size_t k = 0; k < 8; ++k) {
      const uint64_t line = line_mask(mask, k);  // little endian, as all of hunch
      std::memcpy(out + 8 * k, &line, 8);
    }
  }
}

// And its values; returns their end.
std::byte* pack_values(DType dtype, const uint32_t (&mask)[kStripRows], const int (&code)[kStripRows][32],
                       std::byte* out) {
  ValueWriter values(dtype, out);
  if (dtype == DType::kF16) {
    for (size_t c = 0; c < 32; ++c)
      for (unsigned left = column_mask(mask, c); left; left &= left - 1) values.put(code[std::countr_zero(left)][c]);
    return values.end();
  }
  for (size_t k = 0; k < 8; ++k) {
    for (uint64_t left = line_mask(mask, k); left; left &= left - 1) {
      const auto bit = size_t(std::countr_zero(left));
      values.put(code[bit / 4][4 * k + bit % 4]);
    }
    values.end_run();
  }
  return values.end();
}

bool begins_span(const SparseStrips& W, size_t block) { return W.span && 32 * block % W.span == 0; }

size_t strip_bytes(const SparseStrips& W, const SparseRows& rows, size_t first) {
  size_t n = W.span ? W.cols / W.span * kSpanScaleBytes : 0;
  for (size_t b = 0; b < W.cols / 32; ++b) {
    uint32_t mask[kStripRows];
    for (size_t r = 0; r < kStripRows; ++r) mask[r] = mask_of(rows, first + r, b);
    n += block_bytes(W, mask);
  }
  return round_up(n, 64);
}

void pack_strip(const SparseStrips& W, const SparseRows& rows, std::span<const size_t> offsets, size_t first,
                std::byte* out) {
  std::vector<ValueReader> reader;
  for (size_t r = 0; r < kStripRows; ++r)
    reader.emplace_back(W.dtype, first + r < rows.rows ? rows.values + offsets[first + r] : nullptr);
  const auto masks_of = [&](size_t b, uint32_t(&mask)[kStripRows]) {
    for (size_t r = 0; r < kStripRows; ++r) mask[r] = mask_of(rows, first + r, b);
  };
  const auto put_masks = [&](size_t b) {
    uint32_t mask[kStripRows];
    masks_of(b, mask);
    pack_masks(W.dtype, mask, out);
    out += kMaskBytes;
  };
  const auto put_scales = [&](size_t span) {
    for (size_t r = 0; r < kStripRows; ++r, out += 2) {
      std::memset(out, 0, 2);
      if (first + r < rows.rows) std::memcpy(out, rows.scales + 2 * ((first + r) * (W.cols / W.span) + span), 2);
    }
  };
  const size_t n_blocks = W.cols / 32;
  if (!W.two_of_four && n_blocks) put_masks(0);
  for (size_t b = 0; b < n_blocks; ++b) {
    uint32_t mask[kStripRows];
    int code[kStripRows][32];
    masks_of(b, mask);
    for (size_t r = 0; r < kStripRows; ++r) reader[r].next(mask[r], code[r]);
    if (begins_span(W, b)) put_scales(32 * b / W.span);
    if (W.two_of_four) {
      out = pack_pairs(W.dtype, mask, code, out);
    } else {
      if (b + 1 < n_blocks) put_masks(b + 1);
      out = pack_values(W.dtype, mask, code, out);
    }
  }
}

// each(block, row, column of the block, code) for the values of strip i; before those of a span, scales(its first
// block, a f16 for each row).
template <class Scales, class Each>
void for_each_value(const SparseStrips& W, size_t i, const Scales& scales, const Each& each) {
  const std::byte* p = W.data + W.offsets[i];
  const auto scales_at = [&](size_t block, const std::byte* at) {
    std::array<f16, kStripRows> of;
    std::memcpy(of.data(), at, kSpanScaleBytes);
    scales(block, of);
  };
  const size_t n_blocks = W.cols / 32;
  const auto code_of = [&](const std::byte* values, size_t n) {
    return W.dtype == DType::kF16    ? int(at<uint16_t>(values + 2 * n))
           : W.dtype == DType::kQ8_0 ? std::to_integer<int>(values[n]) - 128
                                     : (std::to_integer<int>(values[n / 2]) >> (n % 2 ? 4 : 0) & 15) - 8;
  };
  if (W.two_of_four) {
    for (size_t b = 0; b < n_blocks; ++b) {
      if (begins_span(W, b)) scales_at(b, std::exchange(p, p + kSpanScaleBytes));
      const std::byte* values = p + kPatternBytes;
      for (size_t k = 0; k < 8; ++k)
        for (size_t r = 0; r < kStripRows; ++r) {
          const PairPlace place{k, r};
          const unsigned pattern = at<uint16_t>(p + place.pattern_byte()) >> place.pattern_shift() & 7;
          for (size_t j = 0; j < 2; ++j) {
            const auto byte = std::to_integer<int>(values[place.value_byte(W.dtype, j)]);
            each(b, r, 4 * k + kPairs[pattern][j],
                 W.dtype == DType::kQ8_0 ? byte - 128 : (byte >> place.value_shift(W.dtype) & 15) - 8);
          }
        }
      p = values + sparse_value_bytes(W.dtype, 256);
    }
    return;
  }
  MaskedBlocks blocks(p, n_blocks);
  for (size_t b = 0; b < n_blocks; ++b) {
    if (begins_span(W, b)) scales_at(b, blocks.skip(kSpanScaleBytes));
    auto [masks, values] = blocks.next();
    if (W.dtype == DType::kF16) {
      for (size_t c = 0; c < 32; ++c)
        for (unsigned left = at<uint16_t>(masks + 2 * c); left; left &= left - 1, values += 2)
          each(b, size_t(std::countr_zero(left)), c, code_of(values, 0));
    } else {
      for (size_t k = 0; k < 8; ++k) {
        size_t n = 0;
        for (uint64_t left = at<uint64_t>(masks + 8 * k); left; left &= left - 1, ++n) {
          const auto bit = size_t(std::countr_zero(left));
          each(b, bit / 4, 4 * k + bit % 4, code_of(values, n));
        }
        values += sparse_value_bytes(W.dtype, n);
      }
    }
    blocks.end(values);
  }
}

}  // namespace

OwnedStrips::OwnedStrips(Compute& compute, const SparseRows& W) {
  HUNCH_CHECK(has_sparse_rows(W.dtype) && W.cols % 32 == 0 && (W.span == 0) == (W.dtype == DType::kF16),
              "{} columns of {}, spans of {}", W.cols, name_of(W.dtype), W.span);
  view_ = {W.dtype, W.rows, W.cols, W.span, false, nullptr, {}};
  const std::vector<size_t> row_offsets = sparse_offsets(W);
  std::atomic<bool> pairs{W.dtype != DType::kF16};
  compute.threads.parallel_for(W.rows, 64, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end && pairs; ++r)
      if (!is_two_of_four(W, r)) pairs = false;
  });
  view_.two_of_four = pairs;
  const size_t n_strips = view_.n_strips();
  offsets_.assign(n_strips + 1, 0);
  compute.threads.parallel_for(n_strips, 8, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) offsets_[i + 1] = strip_bytes(view_, W, i * kStripRows);
  });
  for (size_t i = 0; i < n_strips; ++i) offsets_[i + 1] += offsets_[i];
  view_.offsets = offsets_;
  require_memory(view_.bytes(), "a pruned matrix");
  data_ = AlignedBuffer(view_.bytes());
  view_.data = data_.data();
  compute.threads.parallel_for(n_strips, 8, [&](size_t begin, size_t end) {
    compute.throw_if_stopped();
    for (size_t i = begin; i < end; ++i) pack_strip(view_, W, row_offsets, i * kStripRows, data_.data() + offsets_[i]);
  });
}

void strip_to_blocks(const SparseStrips& W, size_t i, std::byte* out) {
  const size_t n_rows = std::min(kStripRows, W.rows - i * kStripRows), stride = row_bytes(W.dtype, W.cols);
  if (W.dtype == DType::kF16) std::memset(out, 0, n_rows * stride);
  const auto empty_blocks = [&](size_t first, const std::array<f16, kStripRows>& scales) {
    for (size_t r = 0; r < n_rows; ++r)
      for (size_t b = first; b < first + W.span / 32; ++b) {
        if (W.dtype == DType::kQ8_0) {
          const format::Q8_0::Block block{scales[r], {}};
          std::memcpy(out + r * stride + b * sizeof block, &block, sizeof block);
        } else {
          format::Q4_0::Block block{scales[r], {}};
          std::fill_n(block.q, 16, uint8_t(0x88));
          std::memcpy(out + r * stride + b * sizeof block, &block, sizeof block);
        }
      }
  };
  for_each_value(W, i, empty_blocks, [&](size_t b, size_t r, size_t c, int code) {
    if (r >= n_rows) return;
    std::byte* row = out + r * stride;
    if (W.dtype == DType::kF16) {
      const auto half = uint16_t(code);
      std::memcpy(row + 2 * (32 * b + c), &half, 2);
    } else if (W.dtype == DType::kQ8_0) {
      row[b * sizeof(format::Q8_0::Block) + offsetof(format::Q8_0::Block, q) + c] = std::byte(code);
    } else {
      std::byte& both = row[b * sizeof(format::Q4_0::Block) + offsetof(format::Q4_0::Block, q) + c % 16];
      both = c < 16 ? (both & std::byte(0xf0)) | std::byte(code + 8)
                    : (both & std::byte(0x0f)) | std::byte((code + 8) << 4);
    }
  });
}

namespace ref {

void decode_strip(const SparseStrips& W, size_t i, MatView<float> out) {
  for (size_t r = 0; r < out.rows; ++r) std::fill_n(out.row(r).begin(), W.cols, 0.0f);
  std::array<f16, kStripRows> scales;
  for_each_value(
      W, i, [&](size_t, const std::array<f16, kStripRows>& of) { scales = of; },
      [&](size_t b, size_t r, size_t c, int code) {
        if (r >= out.rows) return;
        out.row(r)[32 * b + c] = W.dtype == DType::kF16 ? to_f32(f16{uint16_t(code)}) : to_f32(scales[r]) * float(code);
      });
}

}  // namespace ref
}  // namespace hunch
