#include "compress/matrix/block_target.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "io/file_types.h"

namespace hunch {
namespace {

constexpr size_t kLine = 16;  // neighbours that every format gives the same scale and minimum

// The code of zero in a format without a minimum.
int zero_code(const CodeLayout& layout) { return layout.dtype == DType::kQ8_0 ? 127 : (layout.max_code + 1) / 2; }

struct CodeRange {
  int min = 0, max = 0;
};

// Which of the format's codes a grid uses.
CodeRange codes_of(const CodeLayout& layout, const BlockTarget& target) {
  if (!target.grid) return {0, layout.max_code};
  const int n = 1 << target.grid->bits;
  if (!target.grid->symmetric) return {0, n - 1};
  const int zero = zero_code(layout);
  return {std::max(0, zero - n / 2), zero + n / 2 - 1};
}

void put_f16(std::byte* at, float v) {
  const f16 half = to_f16(v);
  std::memcpy(at, &half, sizeof half);
}

// Scale, and minimum where there is one, of the blocks that hold a group.
void write_scales(const BlockTarget& target, std::span<const float> group, std::byte* blocks) {
  const Grid grid = fit_grid(group, *target.grid);
  const Format& format = info(target.dtype);
  for (size_t i = 0; i < group.size(); i += format.block_elems, blocks += format.block_bytes) {
    put_f16(blocks, grid.scale);
    if (format.has_min) put_f16(blocks + 2, -grid.zero * grid.scale);
  }
}

size_t unit_of(const BlockTarget& target, size_t n_in) {
  return target.grid ? group_of(*target.grid, n_in) : info(target.dtype).block_elems;
}

int nearest_code(float w, float a, float b, CodeRange range) {
  if (a == 0) return std::clamp(0, range.min, range.max);
  return int(std::clamp(std::nearbyint((w - b) / a), float(range.min), float(range.max)));
}

// a and b of every 16 values of a block.
template <class Line>
void read_lines(const CodeLayout& layout, std::span<const std::byte> block, std::span<Line> lines) {
  const size_t n = lines.size() * kLine;
  std::vector<std::byte> copy(block.begin(), block.end());
  std::vector<float> low(n), next(n);
  for (size_t i = 0; i < n; ++i) layout.put(copy.data(), i, 0);
  info(layout.dtype).decode(copy.data(), low.data(), n);
  for (size_t i = 0; i < n; ++i) layout.put(copy.data(), i, 1);
  info(layout.dtype).decode(copy.data(), next.data(), n);
  for (size_t l = 0; l < lines.size(); ++l) lines[l] = {next[l * kLine] - low[l * kLine], low[l * kLine]};
}

struct PlainLine {
  float a, b;
};

void encode_group(const BlockTarget& target, std::span<const float> w, std::byte* blocks) {
  if (target.dtype == DType::kF32) {
    const Grid grid = fit_grid(w, *target.grid);
    for (size_t i = 0; i < w.size(); ++i) {
      const float value = grid.value(grid.code(w[i]));
      std::memcpy(blocks + i * sizeof value, &value, sizeof value);
    }
    return;
  }
  const CodeLayout& layout = *find_code_layout(target.dtype);
  const Format& format = info(target.dtype);
  const CodeRange range = codes_of(layout, target);
  write_scales(target, w, blocks);
  for (size_t i = 0; i < w.size(); i += format.block_elems, blocks += format.block_bytes) {
    PlainLine lines[2];
    read_lines<PlainLine>(layout, {blocks, format.block_bytes}, lines);
    for (size_t k = 0; k < format.block_elems; ++k)
      layout.put(blocks, k, nearest_code(w[i + k], lines[0].a, lines[0].b, range));
  }
}

}  // namespace

BlockTarget target_of(const GridOptions& grid) {
  const auto at_most = [&](int bits) { return grid.bits <= bits; };
  if (grid.group % 32 != 0)
    fail(ErrorKind::kUsage, "groups of {}: expected a multiple of 32, a block of the file's format", grid.group);
  if (grid.bits < 2 || grid.bits > 8) fail(ErrorKind::kUsage, "{} bits a weight; possible: 2 to 8", grid.bits);
  if (grid.symmetric) return {at_most(4) ? DType::kQ4_0 : at_most(5) ? DType::kQ5_0 : DType::kQ8_0, grid};
  if (!at_most(5))
    fail(ErrorKind::kUsage, "{} bits with a zero point of each group: no format holds them; take them symmetric",
         grid.bits);
  return {at_most(4) ? DType::kQ4_1 : DType::kQ5_1, grid};
}

BlockTarget fitting(const BlockTarget& target, size_t n_in) {
  if (!target.grid) return {fitting_dtype(target.dtype, n_in), {}};
  group_of(*target.grid, n_in);
  if (n_in % info(target.dtype).block_elems != 0)
    fail(ErrorKind::kUsage, "blocks of {} do not divide the {} inputs of a matrix", info(target.dtype).block_elems,
         n_in);
  return target;
}

EncodedMatrix::EncodedMatrix(DType dtype, size_t rows, size_t cols)
    : dtype(dtype), rows(rows), cols(cols), bytes(rows * row_bytes(dtype, cols)) {
  std::memset(bytes.data(), 0, bytes.size());
}

EncodedMatrix encode_nearest(Compute& compute, const Matrix& W, const BlockTarget& target,
                             std::span<const float> importance) {
  HUNCH_CHECK(importance.empty() || importance.size() == W.cols);
  EncodedMatrix out(target.dtype, W.rows, W.cols);
  const size_t unit = unit_of(target, W.cols);
  compute.threads.parallel_for(W.rows, 8, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      if (!target.grid) {
        codec(target.dtype)
            .encode(W.row(r).data(), out.row(r), W.cols, importance.empty() ? nullptr : importance.data());
        continue;
      }
      for (size_t c = 0; c < W.cols; c += unit)
        encode_group(target, W.row(r).subspan(c, unit), out.row(r) + row_bytes(target.dtype, c));
    }
  });
  return out;
}

void round_in_place(const BlockTarget& target, std::span<float> w) {
  std::vector<std::byte> bytes(row_bytes(target.dtype, w.size()));
  if (target.grid) {
    const size_t unit = unit_of(target, w.size());
    for (size_t c = 0; c < w.size(); c += unit)
      encode_group(target, w.subspan(c, unit), bytes.data() + row_bytes(target.dtype, c));
  } else {
    codec(target.dtype).encode(w.data(), bytes.data(), w.size());
  }
  codec(target.dtype).decode(bytes.data(), w.data(), w.size());
}

BlockRule::BlockRule(const Matrix& W, const InverseHessian& inverse, const BlockTarget& target, bool static_scales,
                     std::span<const float> importance)
    : out(target.dtype, W.rows, W.cols),
      inverse_(inverse),
      target_(target),
      layout_(*find_code_layout(target.dtype)),
      importance_(importance.begin(), importance.end()),
      is_static_(static_scales || !std::ranges::is_sorted(inverse.order)),
      unit_(unit_of(target, W.cols)),
      lines_(W.rows * W.cols / kLine) {
  const CodeRange range = codes_of(layout_, target);
  min_code_ = range.min;
  max_code_ = range.max;
  if (!is_static_) return;
  Matrix seen = W;
  for (uint32_t c : inverse.dead)
    for (size_t r = 0; r < W.rows; ++r) seen.row(r)[c] = 0;
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; c += unit_) fit(r, c, std::as_const(seen).row(r).subspan(c, unit_));
}

void BlockRule::fit(size_t row, size_t column, std::span<const float> w) {
  const Format& format = info(target_.dtype);
  std::byte* const blocks = out.row(row) + row_bytes(target_.dtype, column);
  if (target_.grid) {
    write_scales(target_, w, blocks);
  } else {
    format.encode(w.data(), blocks, w.size(), importance_.empty() ? nullptr : &importance_[column]);
  }
  for (size_t i = 0; i < w.size(); i += format.block_elems)
    read_lines<Line>(layout_, {blocks + row_bytes(target_.dtype, i), format.block_bytes},
                     std::span(lines_).subspan((row * out.cols + column + i) / kLine, format.block_elems / kLine));
}

float BlockRule::settle(const Place& p, float w) {
  if (!is_static_ && p.column % unit_ == 0) fit(p.row, p.column, p.row_before.subspan(p.column, unit_));
  const size_t column = inverse_.order[p.column], block_elems = info(target_.dtype).block_elems;
  const Line& line = lines_[(p.row * out.cols + column) / kLine];
  const int code = nearest_code(w, line.a, line.b, {min_code_, max_code_});
  layout_.put(out.row(p.row) + row_bytes(target_.dtype, column / block_elems * block_elems), column % block_elems,
              code);
  return line.a * float(code) + line.b;
}

}  // namespace hunch
