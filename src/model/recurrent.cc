#include "model/recurrent.h"

#include <cmath>

#include "base/error.h"
#include "model/layer.h"
#include "model/recurrent_step.h"

namespace hunch {
namespace {

size_t conv_floats(const RecurrentConfig& r) { return (r.n_taps - 1) * r.n_conv(); }

}  // namespace

RecurrentSize recurrent_size(const LayerConfig& c) {
  if (!c.is_recurrent()) return {};
  const RecurrentConfig& r = c.recurrent;
  const size_t n_gates = c.mixer == Mixer::kShortConv ? 0 : c.mixer == Mixer::kMamba2 ? r.n_head : 2 * r.n_head;
  return {conv_floats(r) + r.n_head * r.d_head * r.d_state, r.n_conv() + n_gates};
}

MatView<float> conv_past(const LayerConfig& c, std::span<float> state) {
  return {state.data(), c.recurrent.n_taps - 1, c.recurrent.n_conv()};
}

MatView<float> head_state(const LayerConfig& c, std::span<float> state, size_t head) {
  const RecurrentConfig& r = c.recurrent;
  return {state.data() + conv_floats(r) + head * r.d_head * r.d_state, r.d_head, r.d_state};
}

float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

void Layer::mix(Step& s, MatView<const float> x, MatView<float> y) const {
  if (config.is_recurrent()) s.look(config.index, x);
  switch (config.mixer) {
    case Mixer::kAttention: return attention(s, config, x, y);
    case Mixer::kShortConv: return short_conv(s, config, x, y);
    case Mixer::kMamba2: return mamba2(s, config, x, y);
    case Mixer::kDeltaNet: return delta_net(s, config, x, y);
    case Mixer::kNone: break;
  }
  HUNCH_CHECK(false, "layer {} mixes nothing", config.index);
}

}  // namespace hunch
