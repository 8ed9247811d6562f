#include "compress/matrix/zeroquant.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {

ZeroQuantised zeroquant(const Matrix& W, int bits, size_t n_groups, bool symmetric) {
  HUNCH_CHECK(bits >= 2 && bits <= 8, "{} bits", bits);
  if (n_groups == 0 || W.values.size() % n_groups != 0)
    fail(ErrorKind::kUsage, "{} groups do not divide a matrix of {} x {}", n_groups, W.rows, W.cols);
  const size_t n = W.values.size() / n_groups;
  const float n_codes = float(1 << bits), low_code = symmetric ? -n_codes / 2 : 0;
  ZeroQuantised out{W, std::vector<int>(W.values.size()), std::vector<float>(n_groups), std::vector<float>(n_groups)};
  for (size_t g = 0; g < n_groups; ++g) {
    const std::span<float> w = std::span(out.values.values).subspan(g * n, n);
    const auto [low, high] = std::ranges::minmax(w);
    float scale = symmetric ? 2 * std::max(-low, high) / n_codes : (high - low) / n_codes;
    if (scale == 0) scale = 1;  // all the same: a code of 0, and the zero point near it
    const float zero = symmetric ? 0 : std::nearbyint(low / scale) * scale;
    for (size_t i = 0; i < n; ++i) {
      const float code = std::clamp(std::nearbyint((w[i] - zero) / scale), low_code, low_code + n_codes - 1);
      out.codes[g * n + i] = int(code);
      w[i] = code * scale + zero;
    }
    out.scale[g] = scale;
    out.zero[g] = zero;
  }
  return out;
}

}  // namespace hunch
