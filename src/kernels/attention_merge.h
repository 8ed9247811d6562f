// Attention to two sets of keys as attention to both.
#pragma once
#include <span>

#include "base/view.h"

namespace hunch {

// What attention() summed of other keys joins what it summed of some: out = the softmax's mean over both, of one query
// head. `max` and `sum` are AttentionSpan::stats of out's keys and become those of both (Dao et al. 2022, alg. 1); a
// sum of 0 means that no key was seen, and out may then hold anything.
void merge_attention(std::span<const float> other, float other_max, float other_sum, std::span<float> out, float& max,
                     float& sum);

}  // namespace hunch
