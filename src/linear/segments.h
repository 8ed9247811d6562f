// Neighbouring tokens that can share a product. Internal to linear/.
#pragma once
#include "kernels/matmul.h"
#include "linear/linear.h"

namespace hunch {

// each(first, n) for every stretch of tokens that W multiplies alike; what an adapter adds to that is its own business.
template <class Each>
void for_each_segment(Tokens tokens, const Each& each) {
  for (size_t first = 0, end = 0; first < tokens.size(); first = end) {
    for (end = first + 1; end < tokens.size() && tokens[end].as_alone == tokens[first].as_alone;) ++end;
    each(first, end - first);
  }
}

// Of such a stretch.
inline TokenBits bits_of(Tokens tokens) {
  return !tokens.empty() && tokens[0].as_alone ? TokenBits::kAsAlone : TokenBits::kFastest;
}

}  // namespace hunch
