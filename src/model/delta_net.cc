// The gated delta net.
#include <cmath>

#include "base/sigmoid.h"
#include "kernels/causal_conv.h"
#include "kernels/delta_rule.h"
#include "linear/project.h"
#include "model/layer.h"
#include "model/recurrent_step.h"

namespace hunch {
namespace {

constexpr float kLengthEps = 1e-6f;  // the published code's, whatever the config says of norms

// x * factor / sqrt(sum(x^2) + eps).
void scale_to_length(float factor, std::span<float> x) { scale(factor / std::sqrt(dot(x, x) + kLengthEps), x); }

// [n, 2 * n_head]: of each group its heads' betas, then their alphas. Apart: all betas, then all alphas.
void separate(const RecurrentConfig& r, MatView<const float> x, MatView<float> y) {
  const size_t n = r.n_head / r.n_group;
  for (size_t t = 0; t < x.rows; ++t)
    for (size_t g = 0; g < r.n_group; ++g)
      for (size_t i = 0; i < n; ++i) {
        y.row(t)[g * n + i] = x.row(t)[2 * g * n + i];
        y.row(t)[r.n_head + g * n + i] = x.row(t)[(2 * g + 1) * n + i];
      }
}

}  // namespace

void DeltaNet::operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const RecurrentConfig& r = c.recurrent;
  const size_t width = r.width(), n_conv = r.n_conv(), n_key = r.n_group * r.d_state;
  const MatView<float> fed = s.take(x.rows, n_conv + 2 * r.n_head), gates = s.take(x.rows, width);
  const MatView<float> mixed = s.take(x.rows, width);
  const MatView<float> controls = fed.col_range(n_conv, 2 * r.n_head);
  {
    const StageScope stage(s.compute, Stage::kQkv);
    const Product both[] = {{in.get(), fed.col_range(0, n_conv)}, {gate.get(), gates}};
    project(s.compute, s.all().traits, x, {}, both);
    if (beta_alpha) {
      const MatView<float> grouped = s.take(x.rows, 2 * r.n_head);
      project(s.compute, s.all().traits, x, {}, *beta_alpha, {}, grouped);
      separate(r, grouped, controls);
    } else {
      const Product apart[] = {{beta.get(), controls.col_range(0, r.n_head)},
                               {alpha.get(), controls.col_range(r.n_head, r.n_head)}};
      project(s.compute, s.all().traits, x, {}, apart);
    }
  }
  advance_runs(s, c, fed, mixed, [&](MatView<const float> inputs, std::span<float> state, MatView<float> into) {
    const size_t n = inputs.rows;
    const MatView<float> conv = s.take(n, n_conv);
    causal_conv(s.compute, inputs.col_range(0, n_conv), {taps.data(), r.n_taps, n_conv}, {}, /*silu=*/true,
                conv_past(c, state), conv);
    const float of_queries = 1 / std::sqrt(float(r.d_state));
    s.compute.threads.parallel_for(2 * r.n_group, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)  // queries, then keys
        for (size_t t = 0; t < n; ++t)
          scale_to_length(i < r.n_group ? of_queries : 1.0f, conv.row(t).subspan(i * r.d_state, r.d_state));
    });
    const MatView<float> decays = s.take(r.n_head, n), betas = s.take(r.n_head, n);
    s.compute.threads.parallel_for(r.n_head, 1, [&](size_t begin, size_t end) {
      for (size_t h = begin; h < end; ++h) {
        for (size_t t = 0; t < n; ++t) {
          const std::span<const float> control = inputs.row(t).subspan(n_conv);
          betas.row(h)[t] = sigmoid(control[h]);
          decays.row(h)[t] = std::exp(a[h] * softplus(control[r.n_head + h] + dt_bias[h]));
        }
        const size_t group = r.group_of(h) * r.d_state;
        const MatView<float> part = into.col_range(h * r.d_head, r.d_head);
        delta_rule({conv.col_range(group, r.d_state), conv.col_range(n_key + group, r.d_state),
                    conv.col_range(2 * n_key + h * r.d_head, r.d_head), decays.row(h), betas.row(h),
                    head_state(c, state, h), part});
        for (size_t t = 0; t < n; ++t) rms_norm(part.row(t), norm.weight, c.norm_eps, part.row(t));
      }
    });
  });
  multiply_by_silu(s.compute, gates, mixed);
  const StageScope output(s.compute, Stage::kOutput);
  project(s.compute, s.all().traits, mixed, {}, *out, {}, y);
}

}  // namespace hunch
