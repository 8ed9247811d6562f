#include "compress/matrix/nf4.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/nf4.h"

namespace hunch {
namespace {

// Of rising values, the first of two that are equally near.
size_t nearest(std::span<const float> values, float x) {
  const auto above = std::ranges::lower_bound(values, x);
  if (above == values.begin()) return 0;
  if (above == values.end()) return values.size() - 1;
  const size_t i = size_t(above - values.begin());
  return std::abs(x - values[i - 1]) <= std::abs(values[i] - x) ? i - 1 : i;
}

struct Blocks {
  std::vector<uint8_t> codes;
  std::vector<float> absmax;
};

Blocks encode(std::span<const float> x, size_t block, std::span<const float> values) {
  Blocks out;
  out.codes.resize(x.size());
  for (size_t first = 0; first < x.size(); first += block) {
    const size_t n = std::min(block, x.size() - first);
    float absmax = 0;
    for (float v : x.subspan(first, n)) absmax = std::max(absmax, std::abs(v));
    out.absmax.push_back(absmax);
    const float factor = absmax > 0 ? 1 / absmax : 0;
    for (size_t i = first; i < first + n; ++i)
      out.codes[i] = uint8_t(nearest(values, std::clamp(x[i] * factor, -1.0f, 1.0f)));
  }
  return out;
}

}  // namespace

std::array<float, 256> dynamic_map() {
  std::array<float, 256> map{};
  size_t n = 0;
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int n_steps = 1 << exponent;  // means of neighbours among n_steps + 1 numbers from 0.1 to 1
    for (int i = 0; i < n_steps; ++i) {
      const double mean = 0.1 + 0.9 * (i + 0.5) / n_steps, value = std::pow(10.0, exponent - 6) * mean;
      map[n++] = float(value);
      map[n++] = float(-value);
    }
  }
  map[n++] = 0;
  map[n++] = 1;
  HUNCH_CHECK(n == map.size());
  std::ranges::sort(map);
  return map;
}

Nf4Matrix nf4(const Matrix& W, bool double_quantisation) {
  Blocks blocks = encode(W.values, kNf4Block, format::NF4::kValues);
  Nf4Matrix out{W.rows, W.cols, std::move(blocks.codes), std::move(blocks.absmax), {}, {}, 0};
  if (!double_quantisation || out.absmax.empty()) return out;
  double sum = 0;
  for (float v : out.absmax) sum += v;
  out.offset = float(sum / double(out.absmax.size()));
  for (float& v : out.absmax) v -= out.offset;
  const std::array<float, 256> map = dynamic_map();
  Blocks scales = encode(out.absmax, kNf4NestedBlock, map);
  for (size_t i = 0; i < out.absmax.size(); ++i)
    out.absmax[i] = map[scales.codes[i]] * scales.absmax[i / kNf4NestedBlock] + out.offset;
  out.absmax_codes = std::move(scales.codes);
  out.nested_absmax = std::move(scales.absmax);
  return out;
}

Matrix decode(const Nf4Matrix& W) {
  Matrix out(W.rows, W.cols);
  for (size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = format::NF4::kValues[W.codes[i]] * W.absmax[i / kNf4Block];
  return out;
}

}  // namespace hunch
