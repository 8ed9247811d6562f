// A row cut off where its own distribution says (Gemma 3n's Gaussian top-k).
#pragma once
#include <span>

namespace hunch {

// x = max(0, x - c), c = mean + deviations * standard deviation of the row, whose variance is over n. Of normally
// distributed values so many deviations leave a known share; what is at or below c becomes exactly 0.
//
// Source: _gaussian_topk() of Hugging Face's modeling_gemma3n.py.
void cut_off(std::span<float> x, float deviations);

namespace ref {  // in double
void cut_off(std::span<float> x, float deviations);
}  // namespace ref
}  // namespace hunch
