#include "train/projection.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/memory_info.h"
#include "formats/format.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "linear/values.h"
#include "train/gradients.h"
#include "train/random_values.h"

namespace hunch {
namespace {

float mean_magnitude(std::span<const float> row) {
  double sum = 0;
  for (const float w : row) sum += std::abs(w);
  return float(sum / double(row.size()));
}

// A copy of X, each column times its factor.
MatView<const float> scaled_columns(Compute& compute, MatView<const float> X, std::span<const float> factors) {
  const MatView<float> scaled = take_matrix(compute, X.rows, X.cols);
  for (size_t t = 0; t < X.rows; ++t) {
    std::ranges::copy(X.row(t), scaled.row(t).begin());
    multiply(factors, scaled.row(t));
  }
  return scaled;
}

}  // namespace

float AdapterOptions::scale() const {
  return kind == LowRankKind::kRsLora ? alpha / std::sqrt(float(rank)) : alpha / float(rank);
}

void Projection::train_weights(Compute& compute, Parameters& parameters, size_t layer, const std::string& name) {
  weights_ = &parameters.add(name + ".weight", layer, base_->n_out, base_->n_in, true);
  base_->decode(compute, weights_->value);
  if (base_->bias().empty()) return;
  bias_ = &parameters.add(name + ".bias", layer, 1, base_->n_out, false);
  std::ranges::copy(base_->bias(), bias_->values().begin());
}

void Projection::add_low_rank(Compute& compute, Parameters& parameters, size_t layer, const std::string& name,
                              const AdapterOptions& options, uint64_t seed) {
  const size_t rank = options.rank;
  LowRank& own = low_rank_.emplace(LowRank{options, nullptr, nullptr, nullptr, {}});
  own.A = &parameters.add(name + ".weight.lora_a", layer, rank, base_->n_in, true);
  own.B = &parameters.add(name + ".weight.lora_b", layer, base_->n_out, rank, true);
  RandomValues random(seed, own.A->name);
  const double bound = 1 / std::sqrt(double(base_->n_in));
  for (float& a : own.A->values()) a = float(bound * (2 * random.uniform() - 1));
  std::ranges::fill(own.B->values(), 0.0f);
  if (options.kind != LowRankKind::kDora) return;
  own.magnitude = &parameters.add(name + ".weight.lora_magnitude", layer, 1, base_->n_out, false);
  own.norms.resize(base_->n_out);
  begin_magnitudes(compute);
}

void Projection::begin_magnitudes(Compute& compute) {
  if (!low_rank_ || !low_rank_->magnitude) return;
  refresh(compute);
  std::ranges::copy(low_rank_->norms, low_rank_->magnitude->values().begin());
}

void Projection::round_weights(Compute& compute, DType dtype) {
  HUNCH_CHECK(weights_, "weights are not trained");
  const Format& format = info(dtype);
  if (!format.writes() || base_->n_in % format.block_elems != 0)
    fail(ErrorKind::kUsage, "rows of {} weights do not fit blocks of {} (type): {} each", base_->n_in, name_of(dtype),
         format.block_elems);
  rounds_to_ = dtype;
  require_memory(weights_->size() * sizeof(float), "rounded weights");
  rounded_memory_ = AlignedBuffer(weights_->size() * sizeof(float));
  rounded_ = {rounded_memory_.as<float>().data(), base_->n_out, base_->n_in};
  refresh(compute);
}

void Projection::keep_zeros() {
  HUNCH_CHECK(weights_, "weights are not trained");
  is_zero_.resize(weights_->size());
  std::ranges::transform(weights_->values(), is_zero_.begin(), [](float w) { return uint8_t(w == 0); });
}

// The smallest, and of equals the first.
void Projection::prune(double share) {
  HUNCH_CHECK(weights_ && share >= 0 && share <= 1, "a share of {}", share);
  const std::span<float> values = weights_->values();
  std::vector<float> sizes(values.size());
  std::ranges::transform(values, sizes.begin(), [](float w) { return std::abs(w); });
  const size_t n = size_t(std::lround(share * double(values.size())));
  if (n > 0) {
    std::vector<float> sorted = sizes;
    std::ranges::nth_element(sorted, sorted.begin() + ptrdiff_t(n - 1));
    const float bound = sorted[n - 1];
    size_t n_equal = n - size_t(std::ranges::count_if(sizes, [&](float s) { return s < bound; }));
    for (size_t i = 0; i < sizes.size(); ++i)
      if (sizes[i] < bound || (sizes[i] == bound && n_equal > 0 && n_equal-- > 0)) values[i] = 0;
  }
  keep_zeros();
}

void Projection::apply_mask(Compute& compute) {
  const std::span<float> values = weights_->values();
  compute.threads.parallel_for(values.size(), 4096, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) values[i] = is_zero_[i] ? 0.0f : values[i];
  });
}

void Projection::learn_clipping(Compute& compute, Parameters& parameters, size_t layer, const std::string& name) {
  HUNCH_CHECK(rounds_to_, "weights are not rounded");
  clip_ = &parameters.add(name + ".weight.clip", layer, 1, base_->n_out, false);
  for (size_t r = 0; r < base_->n_out; ++r) {
    float most = 0;
    for (const float w : weights_->value.row(r)) most = std::max(most, std::abs(w));
    const float mean = mean_magnitude(weights_->value.row(r));
    clip_->values()[r] = mean > 0 ? most / mean * (1 + 1e-6f) : 1.0f;
  }
  refresh(compute);
}

float Projection::bound_of(size_t row) const {
  return std::max(clip_->values()[row], 0.0f) * mean_magnitude(weights_->value.row(row));
}

void Projection::clipped_row(size_t row, std::span<float> out) const {
  std::ranges::copy(weights_->value.row(row), out.begin());
  if (!clip_) return;
  const float bound = bound_of(row);
  for (float& w : out) w = std::clamp(w, -bound, bound);
}

void Projection::finish_gradients(Compute& compute) const {
  if (!clip_) return;
  compute.threads.parallel_for(base_->n_out, 8, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const float bound = bound_of(r), factor = std::max(clip_->values()[r], 1e-6f);
      clip_->grads()[r] +=
          rounding_gradient(weights_->value.row(r), rounded_.row(r), {-bound, bound}, factor, weights_->grad.row(r));
    }
  });
}

// Rows that are written in this type and read again.
void Projection::round(Compute& compute) {
  const Format& format = codec(*rounds_to_);
  compute.threads.parallel_for(rounded_.rows, 8, [&](size_t begin, size_t end) {
    std::vector<std::byte> blocks(row_bytes(*rounds_to_, rounded_.cols));
    std::vector<float> row(rounded_.cols);
    for (size_t r = begin; r < end; ++r) {
      clipped_row(r, row);
      format.encode(row.data(), blocks.data(), rounded_.cols);
      format.decode(blocks.data(), rounded_.row(r).data(), rounded_.cols);
    }
  });
}

void Projection::refresh(Compute& compute) {
  if (!is_zero_.empty()) apply_mask(compute);
  if (rounds_to_) round(compute);
  if (!low_rank_ || !low_rank_->magnitude) return;
  LowRank& own = *low_rank_;
  const Values values(compute, *base_);
  const WeightView& W = values.rows();
  const float s = own.options.scale();
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    std::vector<float> row(W.cols);
    for (size_t r = begin; r < end; ++r) {
      codec(W.dtype).decode(W.row(r), row.data(), row.size());
      for (size_t k = 0; k < own.A->value.rows; ++k) axpy(s * own.B->value.row(r)[k], own.A->value.row(k), row);
      own.norms[r] = std::sqrt(dot(row, row));
    }
  });
}

// W, in the arena.
MatView<float> Projection::decoded_base(Compute& compute) const {
  const MatView<float> W = take_matrix(compute, base_->n_out, base_->n_in);
  base_->decode(compute, W);
  return W;
}

void Projection::plain_forward(Compute& compute, MatView<const float> X, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  if (precision_ == Precision::kBf16) {
    multiply_nt(compute, precision_, X, weights_ ? present_weights() : decoded_base(compute), Y);
    if (const std::span<const float> bias = bias_values(); !bias.empty())
      compute.threads.parallel_for(Y.rows, 8, [&](size_t begin, size_t end) {
        for (size_t t = begin; t < end; ++t) add(bias, Y.row(t));
      });
    return;
  }
  if (!weights_) {
    const std::span<TokenTraits> tokens = compute.arena.take<TokenTraits>(X.rows);
    std::ranges::fill(tokens, TokenTraits());
    return base_->dot(compute, tokens, X, {}, Y);
  }
  const MatmulTask task{weight_view(present_weights()), bias_values(), Y};
  matmul(compute, X, {&task, 1});
}

void Projection::add_low_rank_product(Compute& compute, MatView<const float> X, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> H = take_matrix(compute, X.rows, low_rank_->options.rank);
  const MatView<float> more = take_matrix(compute, Y.rows, Y.cols);
  multiply_nt(compute, precision_, X, low_rank_->A->value, H);
  multiply_nt(compute, precision_, H, low_rank_->B->value, more);
  add_scaled(compute, low_rank_->options.scale(), more, Y);
}

void Projection::add_factors(Parameters& parameters, size_t layer, const std::string& name, bool of_inputs) {
  Parameter*& factors = of_inputs ? input_factors_ : output_factors_;
  factors = &parameters.add(name + ".weight.ia3", layer, 1, of_inputs ? base_->n_in : base_->n_out, false);
  std::ranges::fill(factors->values(), 1.0f);
}

// dX (+)= what reaches the inputs, and the factors' gradients.
void Projection::factors_backward(Compute& compute, MatView<const float> X, MatView<const float> dY, Into into,
                                  MatView<float> dX) const {
  if (output_factors_) {
    const MatView<float> before = take_matrix(compute, dY.rows, dY.cols);
    plain_forward(compute, X, before);
    for (size_t t = 0; t < dY.rows; ++t) multiply(dY.row(t), before.row(t));
    add_column_sums(compute, before, output_factors_->grads());
    dY = scaled_columns(compute, dY, output_factors_->values());
  }
  if (!input_factors_) {
    if (dX.data) plain_backward(compute, dY, into, dX);
    return;
  }
  const MatView<float> d = take_matrix(compute, X.rows, X.cols);  // of the inputs times their factors
  plain_backward(compute, dY, Into::kReplaces, d);
  const MatView<float> products = take_matrix(compute, X.rows, X.cols);
  for (size_t t = 0; t < X.rows; ++t) {
    std::ranges::copy(X.row(t), products.row(t).begin());
    multiply(d.row(t), products.row(t));
  }
  add_column_sums(compute, products, input_factors_->grads());
  if (!dX.data) return;
  for (size_t t = 0; t < X.rows; ++t) {
    multiply(input_factors_->values(), d.row(t));
    if (into == Into::kReplaces) std::ranges::fill(dX.row(t), 0.0f);
    add(d.row(t), dX.row(t));
  }
}

void Projection::forward(Compute& compute, MatView<const float> X, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  if (input_factors_) X = scaled_columns(compute, X, input_factors_->values());
  plain_forward(compute, X, Y);
  for (size_t t = 0; output_factors_ && t < Y.rows; ++t) multiply(output_factors_->values(), Y.row(t));
  if (!low_rank_) return;
  add_low_rank_product(compute, X, Y);
  if (!low_rank_->magnitude) return;
  const std::span<const float> bias = bias_values(), magnitude = low_rank_->magnitude->values();
  compute.threads.parallel_for(Y.rows, 8, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<float> y = Y.row(t);
      for (size_t r = 0; r < y.size(); ++r) {
        const float b = bias.empty() ? 0.0f : bias[r];
        y[r] = magnitude[r] / low_rank_->norms[r] * (y[r] - b) + b;
      }
    }
  });
}

// dX (+)= dY W.
void Projection::plain_backward(Compute& compute, MatView<const float> dY, Into into, MatView<float> dX) const {
  if (weights_) return multiply_nn(compute, precision_, dY, present_weights(), into, dX);
  const Arena::Scope scope(compute.arena);
  const WeightView W = base_->rows(), turned = base_->by_input();
  if (precision_ == Precision::kF32 && W) return multiply_nn(compute, dY, W, into, dX);
  if (precision_ == Precision::kBf16 || !turned || !is_plain(turned.dtype))
    return multiply_nn(compute, precision_, dY, decoded_base(compute), into, dX);
  const MatView<float> product = into == Into::kAdds ? take_matrix(compute, dX.rows, dX.cols) : dX;
  const MatmulTask task{turned, {}, product};
  matmul(compute, dY, {&task, 1});
  if (into == Into::kAdds) add_scaled(compute, 1.0f, product, dX);
}

// DoRA's dY by rows of W: times magnitude / norm, where the norm is taken as a constant (Liu et al. 2024, section 4.3);
// and the gradient of the magnitudes.
MatView<const float> Projection::stretched(Compute& compute, MatView<const float> X, MatView<const float> dY) const {
  const LowRank& own = *low_rank_;
  const MatView<float> before = take_matrix(compute, dY.rows, dY.cols);  // W x + s B A x
  plain_forward(compute, X, before);
  add_low_rank_product(compute, X, before);
  const std::span<const float> bias = bias_values(), magnitude = own.magnitude->values();
  const std::span<float> d_magnitude = own.magnitude->grads();
  compute.threads.parallel_for(dY.cols, 64, [&](size_t begin, size_t end) {
    for (size_t t = 0; t < dY.rows; ++t)
      for (size_t r = begin; r < end; ++r) {
        float& u = before.row(t)[r];
        d_magnitude[r] += dY.row(t)[r] * (u - (bias.empty() ? 0.0f : bias[r])) / own.norms[r];
        u = magnitude[r] / own.norms[r] * dY.row(t)[r];
      }
  });
  return before;
}

void Projection::low_rank_backward(Compute& compute, MatView<const float> X, MatView<const float> dY,
                                   MatView<float> dX) const {
  const Arena::Scope scope(compute.arena);
  const LowRank& own = *low_rank_;
  const MatView<float> H = take_matrix(compute, X.rows, own.options.rank), dH = take_matrix(compute, H.rows, H.cols);
  const auto scale_all = [&](MatView<float> m) {
    for (size_t t = 0; t < m.rows; ++t) scale(own.options.scale(), m.row(t));
  };
  multiply_nt(compute, precision_, X, own.A->value, H);
  scale_all(H);
  multiply_tn(compute, precision_, dY, H, Into::kAdds, own.B->grad);
  multiply_nn(compute, precision_, dY, own.B->value, Into::kReplaces, dH);
  scale_all(dH);
  multiply_tn(compute, precision_, dH, X, Into::kAdds, own.A->grad);
  if (dX.data) multiply_nn(compute, precision_, dH, own.A->value, Into::kAdds, dX);
}

void Projection::backward(Compute& compute, MatView<const float> X, MatView<const float> dY, Into into,
                          MatView<float> dX, bool counts_bias) const {
  const Arena::Scope scope(compute.arena);
  if (output_factors_ || input_factors_) return factors_backward(compute, X, dY, into, dX);
  if (bias_ && counts_bias) add_column_sums(compute, dY, bias_->grads());
  if (weights_ && weights_->grad.data) multiply_tn(compute, precision_, dY, X, Into::kAdds, weights_->grad);
  if (low_rank_ && low_rank_->magnitude) dY = stretched(compute, X, dY);
  if (dX.data) plain_backward(compute, dY, into, dX);
  if (low_rank_) low_rank_backward(compute, X, dY, dX);
}

}  // namespace hunch
