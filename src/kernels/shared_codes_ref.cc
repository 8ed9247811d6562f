#include "kernels/shared_codes.h"

namespace hunch::ref {

void count_shared_codes(std::span<const uint8_t> codes, std::span<const uint8_t> queries, size_t n_codes,
                        std::span<uint16_t> counts) {
  for (size_t j = 0; j < counts.size(); ++j) {
    counts[j] = 0;
    for (size_t q = 0; q < queries.size() / n_codes; ++q)
      for (size_t i = 0; i < n_codes; ++i)
        counts[j] = uint16_t(counts[j] + (codes[j * n_codes + i] == queries[q * n_codes + i]));
  }
}

}  // namespace hunch::ref
