// One vector of a text, of the hidden states of its tokens.
#pragma once
#include <span>
#include <string_view>

#include "base/view.h"
#include "model/config.h"

namespace hunch {

// As the model's file says; where it says nothing (or "none"), the mean of models whose tokens see the whole text, and
// the last token's state of causal ones, which has read all others. Throws Error{kUsage} where the model scores pairs.
PoolingKind pooling_of(const ModelConfig& config);
// "none", "mean", "cls", "last". Throws Error{kUsage} for others.
PoolingKind pooling_named(std::string_view name);
const char* name_of(PoolingKind kind);

// out = the mean of the rows of states [n_tokens >= 1, n_embd], or its first (kCls) or last one. Means are summed in
// double. `kind` is one of these three.
void pool(MatView<const float> states, PoolingKind kind, std::span<float> out);

// x / |x|; a vector of zeros stays.
void scale_to_length_1(std::span<float> x);
// The cosine of the angle between them; 0 where one is zero.
double cosine(std::span<const float> a, std::span<const float> b);

}  // namespace hunch
