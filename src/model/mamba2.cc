// Mamba-2.
#include <cmath>

#include "kernels/causal_conv.h"
#include "kernels/selective_scan.h"
#include "linear/project.h"
#include "model/layer.h"
#include "model/recurrent_step.h"

namespace hunch {

void Mamba2::operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const RecurrentConfig& r = c.recurrent;
  const size_t width = r.width(), n_conv = r.n_conv(), n_bc = r.n_group * r.d_state;
  const MatView<float> all = s.take(x.rows, width + n_conv + r.n_head), mixed = s.take(x.rows, width);
  {
    const StageScope stage(s.compute, Stage::kQkv);
    project(s.compute, s.all().traits, x, {}, *in, {}, all);
  }
  const MatView<float> gate = all.col_range(0, width), fed = all.col_range(width, n_conv + r.n_head);
  advance_runs(s, c, fed, mixed, [&](MatView<const float> inputs, std::span<float> state, MatView<float> into) {
    const size_t n = inputs.rows;
    const MatView<float> conv = s.take(n, n_conv);
    causal_conv(s.compute, inputs.col_range(0, n_conv), {taps.data(), r.n_taps, n_conv}, conv_bias, /*silu=*/true,
                conv_past(c, state), conv);
    const MatView<float> steps = s.take(r.n_head, n), decays = s.take(r.n_head, n);
    s.compute.threads.parallel_for(r.n_head, 1, [&](size_t begin, size_t end) {
      for (size_t h = begin; h < end; ++h) {
        const std::span<float> dt = steps.row(h), decay = decays.row(h);
        for (size_t t = 0; t < n; ++t) {
          dt[t] = softplus(inputs.row(t)[n_conv + h] + dt_bias[h]);
          decay[t] = std::exp(a[h] * dt[t]);
        }
        const size_t group = width + r.group_of(h) * r.d_state;
        selective_scan({conv.col_range(h * r.d_head, r.d_head), conv.col_range(group, r.d_state),
                        conv.col_range(group + n_bc, r.d_state), decay, dt, d[h], head_state(c, state, h),
                        into.col_range(h * r.d_head, r.d_head)});
      }
    });
  });
  multiply_by_silu(s.compute, gate, mixed);
  const size_t n_normed = width / r.n_group;  // at once
  s.compute.threads.parallel_for(x.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      for (size_t first = 0; first < width; first += n_normed) {
        const std::span<float> part = mixed.row(t).subspan(first, n_normed);
        rms_norm(part, std::span(norm.weight).subspan(first, n_normed), c.norm_eps, part);
      }
  });
  const StageScope output(s.compute, Stage::kOutput);
  project(s.compute, s.all().traits, mixed, {}, *out, {}, y);
}

}  // namespace hunch
