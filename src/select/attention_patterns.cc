#include "select/attention_patterns.h"

#include <algorithm>

#include "select/key_policy.h"

namespace hunch {
namespace {

// The next number of a stream that `state` begins (Steele et al. 2014, splitmix64).
uint64_t next_number(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t random_state(uint64_t seed, std::initializer_list<size_t> parts) {
  for (const size_t part : parts) seed = next_number(seed) ^ part;
  return seed;
}

// Floyd's method: as many draws as numbers.
void append_random(uint64_t state, size_t begin, size_t end, size_t n, std::vector<uint32_t>& to) {
  const auto first = ptrdiff_t(to.size());
  for (size_t top = end - std::min(n, end - begin); top < end; ++top) {
    const uint32_t drawn = uint32_t(begin + next_number(state) % (top + 1 - begin));
    to.push_back(std::find(to.begin() + first, to.end(), drawn) == to.end() ? drawn : uint32_t(top));
  }
  std::sort(to.begin() + first, to.end());
}

void LongformerPattern::append(const PatternPlace&, size_t p, std::vector<uint32_t>& to) const {
  const size_t begin = p + 1 - std::min(p + 1, window);
  append_range(0, std::min(n_global, begin), to);
  append_range(begin, p + 1, to);
}

void BigBirdPattern::append(const PatternPlace& place, size_t p, std::vector<uint32_t>& to) const {
  const size_t own = p / block, first_local = own + 1 - std::min(own + 1, n_local);
  const size_t end_global = std::min(n_global, first_local);
  append_range(0, end_global * block, to);
  std::vector<uint32_t> drawn;
  append_random(random_state(seed, {place.layer, place.head, own}), end_global, first_local, n_random, drawn);
  for (const uint32_t i : drawn) append_range(i * block, (i + 1) * block, to);
  append_range(first_local * block, p + 1, to);
}

void StridedPattern::append(const PatternPlace&, size_t p, std::vector<uint32_t>& to) const {
  const size_t begin = p + 1 - std::min(p + 1, stride);
  for (size_t j = p % stride; j < begin; j += stride) to.push_back(uint32_t(j));
  append_range(begin, p + 1, to);
}

}  // namespace hunch
