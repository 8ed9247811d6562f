// Which tokens a query reads where that follows from their places alone, in the causal use of these patterns.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace hunch {

// Whose pattern it is, of which some have one for every layer and head.
struct PatternPlace {
  size_t layer = 0, head = 0;
};

// A stream of random numbers that these begin, and the n different numbers of [begin, end) that it draws, appended
// ascending; all of them, where there are no more.
uint64_t random_state(uint64_t seed, std::initializer_list<size_t> parts);
void append_random(uint64_t state, size_t begin, size_t end, size_t n, std::vector<uint32_t>& to);

// Each appends, ascending, positions of 0 to p, p among them.

// The last `window` and the first `n_global` (Beltagy et al. 2020, "Longformer", arXiv:2004.05150, section 3.1: a
// sliding window, and tokens that all see. That these see all does not matter to those after them).
struct LongformerPattern {
  static constexpr bool kByHead = false;  // the number of the head does not matter
  size_t window = 0, n_global = 0;
  void append(const PatternPlace& place, size_t p, std::vector<uint32_t>& to) const;
};

// Blocks of `block` tokens: the first n_global, the last n_local, the query's own among these, and n_random of those
// between, drawn anew for every block of queries, layer and head (Zaheer et al. 2020, "Big Bird", arXiv:2007.14062,
// section 2).
struct BigBirdPattern {
  static constexpr bool kByHead = true;
  size_t block = 1, n_global = 0, n_local = 1, n_random = 0;
  uint64_t seed = 0;
  void append(const PatternPlace& place, size_t p, std::vector<uint32_t>& to) const;
};

// The last `stride`, and every stride-th before, counted from the query (Child et al. 2019, "Generating Long Sequences
// with Sparse Transformers", arXiv:1904.10509, section 4.3: both of its heads' patterns in one).
struct StridedPattern {
  static constexpr bool kByHead = false;
  size_t stride = 1;
  void append(const PatternPlace& place, size_t p, std::vector<uint32_t>& to) const;
};

}  // namespace hunch
