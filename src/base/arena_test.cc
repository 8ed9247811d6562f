#include "base/arena.h"

#include <gtest/gtest.h>

#include <cstring>

namespace hunch {
namespace {

TEST(Arena, PiecesOfOneScopeDoNotOverlapAndComeBackAfterIt) {
  Arena arena;
  float* first = nullptr;
  for (int round = 0; round < 3; ++round) {
    const Arena::Scope scope(arena);
    const auto a = arena.take<float>(1000), b = arena.take<float>(3);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % 64, 0u);
    EXPECT_GE(b.data(), a.data() + 1000 + 16);
    if (round) {
      EXPECT_EQ(a.data(), first);
    }
    first = a.data();
    float* inner = nullptr;
    {
      const Arena::Scope nested(arena);
      inner = arena.take<float>(8).data();
      EXPECT_GT(inner, b.data());
    }
    EXPECT_EQ(arena.take<float>(8).data(), inner);
  }
}

TEST(Arena, GrowsWithoutMovingWhatIsInUseAndThenHoldsAllInOneBlock) {
  Arena arena;
  size_t held = 0;
  for (int round = 0; round < 3; ++round) {
    const Arena::Scope scope(arena);
    const auto small = arena.take<char>(100);
    std::memset(small.data(), 7, small.size());
    for (size_t n = 1; n <= 8; ++n) std::memset(arena.take<char>(n << 20).data(), 1, n << 20);
    for (char c : small) EXPECT_EQ(c, 7);
    if (round > 1) {
      EXPECT_EQ(arena.size_bytes(), held);
    }
    held = arena.size_bytes();
  }
}

TEST(Arena, NothingIsStillAPiece) {
  Arena arena;
  const Arena::Scope scope(arena);
  EXPECT_EQ(arena.take<float>(0).size(), 0u);
}

}  // namespace
}  // namespace hunch
