#include "compress/matrix/group_grid.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/format.h"

namespace hunch {
namespace {

constexpr int kSearchSteps = 100;
constexpr float kSearchNorm = 2.4f, kMostShrunk = 0.8f;

Grid grid_of(float low, float high, int max_code, const GridOptions& options) {
  const float scale = (high - low) / float(max_code);
  Grid grid{options.scale_as == DType::kF32 ? scale : scale_in(options.scale_as, scale), float(max_code + 1) / 2,
            max_code};
  if (!options.symmetric) grid.zero = std::nearbyint(-low / grid.scale);
  if (options.scale_as != DType::kF32) grid.zero = std::clamp(grid.zero, 0.0f, float(max_code));  // it rounded down
  return grid;
}

}  // namespace

float scale_in(DType type, float scale) {
  if (type != DType::kF16 && type != DType::kBF16 && type != DType::kF32)
    fail(ErrorKind::kUnsupported, "scales of type {}; possible: f32, f16, bf16", name_of(type));
  std::byte bytes[sizeof(float)];
  float out = scale;
  codec(type).encode(&scale, bytes, 1);
  codec(type).decode(bytes, &out, 1);
  constexpr float kLeast = 0x1p-24f;  // of f16
  return out > 0 ? out : kLeast;
}

int Grid::code(float w) const { return int(std::clamp(std::nearbyint(w / scale) + zero, 0.0f, float(max_code))); }

Grid fit_grid(std::span<const float> w, const GridOptions& options) {
  const int max_code = (1 << options.bits) - 1;
  float low = 0, high = 0;
  for (float v : w) low = std::min(low, v), high = std::max(high, v);
  if (options.symmetric) high = std::max(-low, high), low = -high;  // quant.py keeps a low of 0, and cuts the group off
  if (low == 0 && high == 0) low = -1, high = 1;
  Grid best = grid_of(low, high, max_code, options);
  if (!options.search) return best;
  double least = INFINITY;
  for (int i = 0; i < int(kMostShrunk * kSearchSteps); ++i) {
    const float share = float(1 - double(i) / kSearchSteps);
    const Grid grid = grid_of(share * low, share * high, max_code, options);
    double error = 0;
    for (float v : w) error += std::pow(std::abs(grid.value(grid.code(v)) - v), kSearchNorm);
    if (error < least) least = error, best = grid;
  }
  return best;
}

CodedMatrix::CodedMatrix(size_t n_out, size_t n_in, size_t group_size)
    : values(n_out, n_in), codes(n_out * n_in), scale(n_out, n_in / group_size), zero(scale), group(n_in) {
  for (size_t c = 0; c < n_in; ++c) group[c] = uint32_t(c / group_size);
}

void CodedMatrix::put(size_t row, size_t column, const Grid& grid, float w) {
  const int code = grid.code(w);
  codes[row * values.cols + column] = uint8_t(code);
  values.row(row)[column] = grid.value(code);
  scale.row(row)[group[column]] = grid.scale;
  zero.row(row)[group[column]] = grid.zero;
}

size_t group_of(const GridOptions& options, size_t n_in) {
  if (options.bits < 2 || options.bits > 8) fail(ErrorKind::kUsage, "{} bits a weight; possible: 2 to 8", options.bits);
  const size_t group = options.group ? options.group : n_in;
  if (group == 0 || n_in % group != 0)
    fail(ErrorKind::kUsage, "groups of {} do not divide the {} inputs of a matrix", group, n_in);
  return group;
}

CodedMatrix round_to_nearest(const Matrix& W, const GridOptions& options) {
  const size_t group = group_of(options, W.cols);
  CodedMatrix out(W.rows, W.cols, group);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; c += group) {
      const std::span<const float> w = W.row(r).subspan(c, group);
      const Grid grid = fit_grid(w, options);
      for (size_t i = 0; i < group; ++i) out.put(r, c + i, grid, w[i]);
    }
  return out;
}

}  // namespace hunch
