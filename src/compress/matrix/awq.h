// AWQ: inputs with large activations scaled up before rounding, and ranges clipped, by search (Lin et al. 2023, "AWQ:
// Activation-aware Weight Quantization", arXiv:2306.00978, section 3.2).
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

// Rounds the weights of a row, or of a part of one that the format rounds by itself, in place.
using RoundWeights = std::function<void(std::span<float> w)>;

// What AWQ rounds groups of `group` to: 2^bits values from min to max, without 0 being covered (its
// pseudo_quantize_tensor).
void round_min_max(std::span<float> w, int bits, size_t group);

// s [n_in] = x_mean^ratio, at least 1e-4, over the geometric mean of its extremes. `w_mean` [n_in] or empty: the second
// divides by w_mean^(1 - ratio) (AutoAWQ's duo scaling).
std::vector<float> awq_scales(std::span<const float> x_mean, std::span<const float> w_mean, double ratio);
// The mean over all rows of all matrices of |w| relative to its group's largest. [n_in]
std::vector<float> relative_weight_means(std::span<const Matrix* const> matrices, size_t group);

struct AwqScales {
  double ratio = 0;
  std::vector<float> scales;   // [n_in]
  std::vector<double> losses;  // of ratio 0, 1/20, ..., 19/20
};
// The ratio of least loss. `loss`: of what the rounded matrices make of their inputs when scaled by s.
AwqScales search_awq_scales(std::span<const float> x_mean, std::span<const float> w_mean,
                            const std::function<double(std::span<const float> s)>& loss);

// round(W s) / s: what a matrix is worth whose inputs are divided by s.
Matrix rounded_as_scaled(Compute& compute, const Matrix& W, std::span<const float> s, const RoundWeights& round);

// tr(E M E^T) for E = A - B: the squared error of all outputs on inputs of second moment M [n_in, n_in].
double output_error(Compute& compute, const Matrix& A, const Matrix& B, const Matrix& M);

// For every group of every row the largest |w| to let pass, [n_out, n_in / group]: of 10 shares of the group's own from
// 1 down to 0.55 the one whose rounded group gives the least squared error on the second moment M of the inputs.
Matrix search_clips(Compute& compute, const Matrix& W, const Matrix& M, size_t group, const RoundWeights& round);
void apply_clips(const Matrix& clips, Matrix& W);

}  // namespace hunch
