#include "compress/smooth_layer.h"

#include <cmath>

#include "compress/matrix/smoothquant.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr double kAlphas[] = {0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9};

void divide_columns(std::span<const float> s, Matrix& X) {
  for (size_t r = 0; r < X.rows; ++r)
    for (size_t c = 0; c < X.cols; ++c) X.row(r)[c] /= s[c];
}

// Of what the matrices read in common.
std::vector<float> best_scales(Compute& compute, std::span<const Matrix> matrices, const InputMoment& moment,
                               const Int8Options& options, std::optional<double> alpha) {
  std::vector<const Matrix*> pointers;
  for (const Matrix& W : matrices) pointers.push_back(&W);
  const std::vector<float> weight_max = input_maxima(pointers);
  if (alpha) return smoothing_scales(moment.largest, weight_max, *alpha);
  const auto loss = [&](const std::vector<float>& s) {
    Matrix X = moment.sample;
    std::vector<float> largest = moment.largest;
    divide_columns(s, X);
    for (size_t c = 0; c < s.size(); ++c) largest[c] /= s[c];
    double sum = 0;
    for (Matrix W : matrices) {
      compute.throw_if_stopped();
      scale_inputs(s, W);
      const double error = int8_error(compute, W, int8_matrix(W, {largest, &X}, options), X);
      sum += error * error;
    }
    return sum;
  };
  std::vector<float> best(moment.largest.size(), 1.0f);
  double least = loss(best);
  for (const double a : kAlphas) {
    std::vector<float> s = smoothing_scales(moment.largest, weight_max, a);
    if (const double l = loss(s); l < least) least = l, best = std::move(s);
  }
  return best;
}

}  // namespace

LayerScaling search_smoothing(Compute& compute, const Layer& layer, const InputMoments& moments,
                              const Int8Options& options, std::optional<double> alpha) {
  LayerScaling scaling;
  const NormFed fed = fed_by_norms(layer);
  const auto smooth = [&](std::initializer_list<const Linear*> all, std::vector<float>& norm) {
    std::vector<const Linear*> linears;
    std::vector<Matrix> matrices;
    for (const Linear* linear : all) {
      if (!linear) continue;
      linears.push_back(linear);
      decode_rows(compute, Values(compute, *linear).rows(), matrices.emplace_back(linear->n_out, linear->n_in).view());
    }
    const InputMoment& moment = moments.of(linears[0]->id);
    if (moment.n_tokens == 0) return;
    norm = best_scales(compute, matrices, moment, options, alpha);
    for (const Linear* linear : linears) scaling.by_input[linear->id.role] = norm;
  };
  if (fed.attention)
    smooth({layer.attention.q.get(), layer.attention.k.get(), layer.attention.v.get()}, scaling.attn_norm);
  if (fed.mlp) smooth({layer.mlp.gate.get(), layer.mlp.up.get()}, scaling.ffn_norm);
  return scaling;
}

InputMoment scaled_inputs(const LayerScaling& scaling, Role role, const InputMoment& moment) {
  InputMoment out = moment;
  const auto in = scaling.by_input.find(role);
  if (in == scaling.by_input.end()) return out;
  if (out.sum.rows > 0) out.sum = scaled_moment(scaling, role, moment.sum);
  divide_columns(in->second, out.sample);
  for (size_t c = 0; c < out.largest.size(); ++c) out.largest[c] /= in->second[c];
  return out;
}

Int8Inputs inputs_of(const InputMoment& moment) {
  return {moment.largest, moment.sample.rows > 0 ? &moment.sample : nullptr};
}

double int8_error(Compute& compute, const Matrix& W, const Int8Matrix& rounded, const Matrix& sample) {
  if (sample.rows == 0) return 0;
  const Matrix want = multiply_nt(compute, sample.view(), W.weights());
  Matrix got(sample.rows, W.rows);
  const std::unique_ptr<Linear> linear = linear_of({}, compute, rounded.codes, rounded.side);
  linear->dot(compute, std::vector<TokenTraits>(sample.rows), sample.view(), {}, got.view());
  double error = 0, whole = 0;
  for (size_t i = 0; i < want.values.size(); ++i) {
    const double d = double(got.values[i]) - want.values[i];
    error += d * d;
    whole += double(want.values[i]) * want.values[i];
  }
  return whole > 0 ? std::sqrt(error / whole) : 0;
}

}  // namespace hunch
