#include "kernels/read_stream.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

TEST(ReadStream, ReadsEveryWordOnceOnEveryTarget) {
  std::mt19937 rng(1);
  for (const size_t n : {0, 1, 15, 16, 127, 128, 129, 1000, 4096, 5000}) {
    std::vector<uint32_t> words(n);
    for (uint32_t& w : words) w = uint32_t(rng());
    const auto bytes = std::as_bytes(std::span(words));
    for_each_target([&] {
      for (const ReadWay way : kReadWays)
        EXPECT_EQ(read_stream(bytes, way), ref::read_stream(bytes)) << n << " words, way " << int(way);
    });
  }
}

}  // namespace
}  // namespace hunch
