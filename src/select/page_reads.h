// How much of the past was read where queries choose pages of it.
#pragma once
#include <cstdint>

namespace hunch {

// Of heads (or groups of them) of queries that had more pages than they read at first.
struct PageReads {
  uint64_t n_choices = 0;         // such heads
  uint64_t n_read = 0, n_of = 0;  // pages that they read, of how many
  uint64_t n_whole = 0;           // of the heads: those that read all in the end
  uint64_t n_keys = 0;            // on the pages that were read; without choices: of a query that reads single keys

  PageReads& combine(const PageReads& other, int sign) {
    n_choices += uint64_t(sign) * other.n_choices;
    n_read += uint64_t(sign) * other.n_read;
    n_of += uint64_t(sign) * other.n_of;
    n_whole += uint64_t(sign) * other.n_whole;
    n_keys += uint64_t(sign) * other.n_keys;
    return *this;
  }
  PageReads& operator+=(const PageReads& other) { return combine(other, 1); }
};

}  // namespace hunch
