#include "kernels/selective_scan.h"

namespace hunch::ref {

void selective_scan(const SelectiveScan& h) {
  for (size_t t = 0; t < h.x.rows; ++t)
    for (size_t i = 0; i < h.x.cols; ++i) {
      double sum = double(h.D) * double(h.x.row(t)[i]);
      for (size_t j = 0; j < h.state.cols; ++j) {
        const double s = double(h.decay[t]) * double(h.state.row(i)[j]) +
                         double(h.dt[t]) * double(h.x.row(t)[i]) * double(h.B.row(t)[j]);
        h.state.row(i)[j] = float(s);
        sum += s * double(h.C.row(t)[j]);
      }
      h.y.row(t)[i] = float(sum);
    }
}

}  // namespace hunch::ref
