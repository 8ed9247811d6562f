// A dense MLP and experts side by side, each with norms of its own (Gemma 4).
#include "model/layer.h"

namespace hunch {

void Layer::mlp_beside_experts(Step& s, MatView<const float> stream, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  mlp(s, config, s.all(), x, y);
  norm_rows(s.compute, config, y, beside.mlp_output, y);
  const MatView<float> routed = s.take(y.rows, y.cols), in = s.take(y.rows, y.cols), out = s.take(y.rows, y.cols);
  norm_rows(s.compute, config, stream, beside.router, routed);
  norm_rows(s.compute, config, stream, beside.input, in);
  experts(s, config, routed, in, out);
  norm_rows(s.compute, config, out, beside.output, out);
  add_rows(s.compute, 1.0f, out, y);
}

}  // namespace hunch
