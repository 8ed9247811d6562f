#include <vector>

#include "kernels/delta_rule.h"

namespace hunch::ref {

void delta_rule(const DeltaRule& h) {
  const size_t n = h.state.cols;
  for (size_t t = 0; t < h.q.rows; ++t)
    for (size_t i = 0; i < h.state.rows; ++i) {
      std::vector<double> s(n);
      double known = 0, out = 0;
      for (size_t j = 0; j < n; ++j) {
        s[j] = double(h.decay[t]) * double(h.state.row(i)[j]);
        known += s[j] * double(h.k.row(t)[j]);
      }
      for (size_t j = 0; j < n; ++j) {
        s[j] += double(h.beta[t]) * (double(h.v.row(t)[i]) - known) * double(h.k.row(t)[j]);
        out += s[j] * double(h.q.row(t)[j]);
        h.state.row(i)[j] = float(s[j]);
      }
      h.y.row(t)[i] = float(out);
    }
}

}  // namespace hunch::ref
