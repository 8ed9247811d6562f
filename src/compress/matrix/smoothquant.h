// Outliers of activations moved into weights, and both rounded to 8 bits (Xiao et al. 2022, "SmoothQuant",
// arXiv:2211.10438).
#pragma once
#include <span>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

// The largest |W| of every input, over all matrices that read it; at least 1e-5. [n_in]
std::vector<float> input_maxima(std::span<const Matrix* const> matrices);

// s [n_in] to divide inputs by and multiply weights with: max|X|^alpha / max|W|^(1 - alpha), at least 1e-5 (equation
// 4). act_max, weight_max [n_in].
std::vector<float> smoothing_scales(std::span<const float> act_max, std::span<const float> weight_max, double alpha);

// W[:, c] *= s[c].
void scale_inputs(std::span<const float> s, Matrix& W);
// W[r, :] /= s[r].
void unscale_outputs(std::span<const float> s, Matrix& W);

// X rounded to n_bits codes around zero, as floats: each row with a scale of its own (of weights per channel, of
// activations per token), or all with one.
enum class ScaleOf : uint8_t { kRow, kAll };
Matrix round_absmax(const Matrix& X, ScaleOf scale_of, int n_bits = 8);

}  // namespace hunch
