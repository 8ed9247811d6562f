// Neighbouring tokens that can share a product. Internal to linear/.
#pragma once
#include "kernels/matmul.h"
#include "linear/linear.h"

namespace hunch {

// each(first, n) for every stretch of tokens of equal traits.
template <class Each>
void for_each_segment(Tokens tokens, const Each& each) {
  for (size_t first = 0, end = 0; first < tokens.size(); first = end) {
    for (end = first + 1; end < tokens.size() && tokens[end] == tokens[first];) ++end;
    each(first, end - first);
  }
}

// Of a stretch of equal traits.
inline TokenBits bits_of(Tokens tokens) {
  return !tokens.empty() && tokens[0].as_alone ? TokenBits::kAsAlone : TokenBits::kFastest;
}

}  // namespace hunch
