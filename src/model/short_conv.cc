// LFM2's short convolution.
#include "kernels/causal_conv.h"
#include "linear/project.h"
#include "model/layer.h"
#include "model/recurrent_step.h"

namespace hunch {

void ShortConv::operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const size_t n = c.recurrent.width();
  const MatView<float> bcx = s.take(x.rows, 3 * n), mixed = s.take(x.rows, n);
  {
    const StageScope stage(s.compute, Stage::kQkv);
    project(s.compute, s.all().traits, x, {}, *in, {}, bcx);
  }
  const MatView<float> b = bcx.col_range(0, n), gate = bcx.col_range(n, n), fed = bcx.col_range(2 * n, n);
  for (size_t t = 0; t < x.rows; ++t) multiply(b.row(t), fed.row(t));
  advance_runs(s, c, fed, mixed, [&](MatView<const float> inputs, std::span<float> state, MatView<float> into) {
    causal_conv(s.compute, inputs, {taps.data(), c.recurrent.n_taps, n}, {}, /*silu=*/false, conv_past(c, state), into);
  });
  for (size_t t = 0; t < x.rows; ++t) multiply(gate.row(t), mixed.row(t));
  const StageScope output(s.compute, Stage::kOutput);
  project(s.compute, s.all().traits, mixed, {}, *out, {}, y);
}

}  // namespace hunch
