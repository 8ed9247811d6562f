#include "model/ops.h"

#include <algorithm>
#include <cmath>

#include "base/sigmoid.h"
#include "kernels/cut_off.h"

namespace hunch {
namespace {

template <class OfRow>
void for_rows(Compute& compute, size_t n_rows, size_t grain, const OfRow& of_row) {
  compute.threads.parallel_for(n_rows, grain, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) of_row(t);
  });
}

}  // namespace

void norm_rows(Compute& compute, NormKind kind, float eps, MatView<const float> x, const NormWeights& n,
               MatView<float> y) {
  for_rows(compute, x.rows, 4, [&](size_t t) {
    if (kind == NormKind::kRms) {
      rms_norm(x.row(t), n.weight, eps, y.row(t));
    } else {
      layer_norm(x.row(t), n.weight, n.bias, eps, y.row(t));
    }
  });
}

void norm_rows(Compute& compute, const LayerConfig& c, MatView<const float> x, const NormWeights& n, MatView<float> y) {
  norm_rows(compute, c.norm, c.norm_eps, x, n, y);
}

void add_rows(Compute& compute, float scale, MatView<const float> x, MatView<float> y) {
  for_rows(compute, x.rows, 8, [&](size_t t) {
    if (scale == 1.0f) {
      add(x.row(t), y.row(t));
    } else {
      axpy(scale, x.row(t), y.row(t));
    }
  });
}

namespace {

void clamp(float low, float high, std::span<float> x) {
  for (float& value : x) value = std::clamp(value, low, high);
}
void activate_row(const LayerConfig& c, std::span<float> x) {
  if (c.gated && c.details.limit > 0) clamp(-INFINITY, c.details.limit, x);
  if (c.gate_cutoff > -INFINITY) cut_off(x, c.gate_cutoff);
  activate(c.activation, x, c.details.threshold);
}
void multiply_row(const ActivationDetails& d, std::span<float> up, std::span<float> y) {
  if (d.limit > 0) clamp(-d.limit, d.limit, up);
  if (d.up_offset != 0)
    for (float& value : up) value += d.up_offset;
  if (d.relu_up) activate(Activation::kRelu, up);
  multiply(up, y);
}

}  // namespace

void activate_rows(Compute& compute, const LayerConfig& c, MatView<float> x) {
  for_rows(compute, x.rows, 1, [&](size_t t) { activate_row(c, x.row(t)); });
}

void multiply_rows(Compute& compute, const LayerConfig& c, MatView<float> ups, MatView<float> y) {
  for_rows(compute, y.rows, 1, [&](size_t t) { multiply_row(c.details, ups.row(t), y.row(t)); });
}

void activate_and_multiply_rows(Compute& compute, const LayerConfig& c, MatView<float> ups, MatView<float> y) {
  for_rows(compute, y.rows, 1, [&](size_t t) {
    activate_row(c, y.row(t));
    multiply_row(c.details, ups.row(t), y.row(t));
  });
}

void add_gated_rows(MatView<const float> gates, MatView<const float> x, MatView<float> y) {
  for (size_t t = 0; t < x.rows; ++t) axpy(sigmoid(gates.row(t)[0]), x.row(t), y.row(t));
}

void multiply_by_sigmoid(Compute& compute, MatView<float> gates, MatView<float> y) {
  for_rows(compute, y.rows, 1, [&](size_t t) {
    for (float& g : gates.row(t)) g = sigmoid(g);
    multiply(gates.row(t), y.row(t));
  });
}

void multiply_by_silu(Compute& compute, MatView<float> gates, MatView<float> y) {
  for_rows(compute, y.rows, 1, [&](size_t t) {
    activate(Activation::kSilu, gates.row(t));
    multiply(gates.row(t), y.row(t));
  });
}

void split_heads(MatView<const float> x, size_t d_head, MatView<float> first, MatView<float> second) {
  for (size_t t = 0; t < x.rows; ++t)
    for (size_t begin = 0; begin < first.cols; begin += d_head) {
      const std::span<const float> both = x.row(t).subspan(2 * begin, 2 * d_head);
      std::ranges::copy(both.first(d_head), first.row(t).begin() + ptrdiff_t(begin));
      std::ranges::copy(both.last(d_head), second.row(t).begin() + ptrdiff_t(begin));
    }
}

void fill_rows(float value, MatView<float> y) {
  for (size_t t = 0; t < y.rows; ++t) std::ranges::fill(y.row(t), value);
}

void copy_rows(MatView<const float> x, MatView<float> y) {
  for (size_t t = 0; t < x.rows; ++t) std::ranges::copy(x.row(t), y.row(t).begin());
}

void copy_chosen(const Rows& rows, std::span<const float> from, std::span<float> to) {
  rows.for_each([&](size_t i) { to[i] = from[i]; });
}

void clip_rows(float limit, MatView<float> x) {
  for (size_t t = 0; limit > 0 && t < x.rows; ++t) clamp(-limit, limit, x.row(t));
}

uint64_t count_nonzero(MatView<const float> x) {
  uint64_t n = 0;
  for (size_t t = 0; t < x.rows; ++t) n += count_nonzero(x.row(t));
  return n;
}

void finish_heads(Compute& compute, const LayerConfig& c, MatView<float> x, const NormWeights& n, size_t first_head,
                  const Rotation& rotation) {
  const bool normed = c.qk_norm != QkNorm::kNone;
  if (c.clip_qkv <= 0 && !c.rotates && !normed) return;
  // Normalised at once: a head, or all heads of a token.
  const size_t norm_width = c.qk_norm == QkNorm::kAllHeads ? x.cols : c.d_head;
  for_rows(compute, x.rows, 4, [&](size_t t) {
    clip_rows(c.clip_qkv, x.row_range(t, 1));
    for (size_t first = 0; normed && first < x.cols; first += norm_width) {
      const std::span<float> part = x.row(t).subspan(first, norm_width);
      const size_t offset = c.qk_norm == QkNorm::kShared ? 0 : first_head * c.d_head + first;
      const std::span<const float> weight = std::span(n.weight).subspan(offset, norm_width);
      if (c.qk_norm_kind == NormKind::kRms) {
        rms_norm(part, weight, c.norm_eps, part);
      } else {
        const auto bias = n.bias.empty() ? std::span<const float>() : std::span(n.bias).subspan(offset, norm_width);
        layer_norm(part, weight, bias, c.norm_eps, part);
      }
    }
    for (size_t first = 0; c.rotates && first < x.cols; first += c.d_head)
      rope(x.row(t).subspan(first, c.d_head), rotation.cos.row(t), rotation.sin.row(t), c.rope_interleaved);
  });
}

void finish_values(Compute& compute, const LayerConfig& c, MatView<float> x) {
  clip_rows(c.clip_qkv, x);
  if (!c.value_norm) return;
  for_rows(compute, x.rows, 4, [&](size_t t) {
    for (size_t first = 0; first < x.cols; first += c.d_head) {
      const std::span<float> head = x.row(t).subspan(first, c.d_head);
      rms_norm(head, {}, c.norm_eps, head);
    }
  });
}

}  // namespace hunch
