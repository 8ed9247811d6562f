// Row-wise operators between the products. All work in place where `x` and `y` are the same memory.
// SIMD, f32; rows are shared out by the caller (model/ calls them inside parallel_for).
#pragma once
#include <cstdint>
#include <span>

#include "base/half.h"

namespace hunch {

// y = (x - mean) / sqrt(var + eps) * weight + bias. weight and bias [n] or empty (OLMo has neither).
void layer_norm(std::span<const float> x, std::span<const float> weight, std::span<const float> bias, float eps,
                std::span<float> y);
// y = x / sqrt(mean(x^2) + eps) * weight. Gemma's (1 + w) is folded into `weight` at load.
void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> y);

// Scalar functions of the MLP.
enum class Activation : uint8_t {
  kRelu,
  kReluSquared,
  kSilu,
  kGeluErf,
  kGeluTanh,
  kGeluQuick,  // x * sigmoid(1.702 x)
};
// True for the functions that map every x <= 0 to exactly 0.
constexpr bool is_relu_family(Activation a) { return a == Activation::kRelu || a == Activation::kReluSquared; }
// x = f(x). GELU within 1e-6 of the exact function. The ReLUs let through only what is above `threshold` (FATReLU,
// Kurtz et al. 2020, "Inducing and Exploiting Activation Sparsity"; ProSparse); the others do not look at it.
void activate(Activation activation, std::span<float> x, float threshold = 0);

// y += x; y *= x; x *= s; x = cap * tanh(x / cap).
void add(std::span<const float> x, std::span<float> y);
void multiply(std::span<const float> x, std::span<float> y);
void scale(float s, std::span<float> x);
void soft_cap(float cap, std::span<float> x);

// x = exp(x - max) / sum. Returns log(sum exp(x)) of the input.
float softmax(std::span<float> x);
// log(sum exp(x)), x unchanged.
float log_sum_exp(std::span<const float> x);
// Index of the largest value; the smallest such index on ties; NaN never wins.
size_t argmax(std::span<const float> x);

// Rotates the first 2 * n_pairs values of one head: pair (i, i + n_pairs) in the half-split layout
// (NeoX, Llama on HF), (2i, 2i + 1) in the interleaved layout (GPT-J, Llama in GGUF).
// cos and sin [n_pairs] are those of the token's position (scaled as the model wants it).
void rope(std::span<float> head, std::span<const float> cos, std::span<const float> sin, bool interleaved);

// y = x rounded to half precision, to the nearest even (as base/half.h does it).
void to_f16(std::span<const float> x, std::span<f16> y);

// Writes first_id + i for every i with x[i] != 0, ascending, and returns how many. -0 is zero, NaN is not.
// `ids` has room for x.size() of them, and all of it may be written.
size_t nonzero_ids(std::span<const float> x, uint32_t first_id, uint32_t* ids);
// How many there are.
size_t count_nonzero(std::span<const float> x);

// y += a * x; dot product of two f32 rows.
void axpy(float a, std::span<const float> x, std::span<float> y);
float dot(std::span<const float> a, std::span<const float> b);

namespace ref {  // scalar, double precision inside
void layer_norm(std::span<const float> x, std::span<const float> weight, std::span<const float> bias, float eps,
                std::span<float> y);
void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> y);
float activation(Activation activation, float x, float threshold = 0);
float softmax(std::span<float> x);
void rope(std::span<float> head, std::span<const float> cos, std::span<const float> sin, bool interleaved);
}  // namespace ref
}  // namespace hunch
