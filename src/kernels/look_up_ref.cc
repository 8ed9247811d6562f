#include "kernels/look_up.h"

namespace hunch::ref {

void look_up_rows(const WeightView& W, std::span<const int32_t> ids, MatView<float> Y) {
  for (size_t t = 0; t < ids.size(); ++t) codec(W.dtype).decode(W.row(size_t(ids[t])), Y.row(t).data(), W.cols);
}

}  // namespace hunch::ref
