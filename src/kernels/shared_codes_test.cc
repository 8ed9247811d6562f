#include "kernels/shared_codes.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

TEST(SharedCodes, AreCountedAsTheReferenceDoesOnEveryTarget) {
  std::mt19937 rng(1);
  for (const size_t n_codes : {8, 16, 24})
    for (const size_t n_keys : {0, 1, 7, 8, 9, 65})
      for (const size_t n_queries : {1, 3, 255}) {
        std::vector<uint8_t> codes(n_keys * n_codes), queries(n_queries * n_codes);
        for (uint8_t& c : codes) c = uint8_t(rng() % 3);
        for (uint8_t& c : queries) c = n_queries == 255 ? 1 : uint8_t(rng() % 3);
        std::vector<uint16_t> want(n_keys);
        ref::count_shared_codes(codes, queries, n_codes, want);
        for_each_target([&] {
          std::vector<uint16_t> got(n_keys, 7);
          count_shared_codes(codes, queries, n_codes, got);
          EXPECT_EQ(got, want) << n_codes << " codes, " << n_keys << " keys, " << n_queries << " queries";
        });
      }
}

}  // namespace
}  // namespace hunch
