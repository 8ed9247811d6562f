// A cache whose keys and values lie on a device: it counts, and says which pages to copy.
#include <gtest/gtest.h>

#include "state/kv_cache.h"

namespace hunch {
namespace {

std::vector<uint32_t> pages_of(const KvCache& cache, KvCache::SequenceId sequence) {
  const std::span<const uint32_t> pages = cache.pages(sequence);
  return {pages.begin(), pages.end()};
}

TEST(KvElsewhere, WhatIsWrittenBesideOthersIsCopiedThere) {
  KvCache cache({{{2, 8}, {2, 8}}, DType::kF32, 4}, 64);
  cache.hold_elsewhere();
  EXPECT_EQ(cache.n_pages(), 16u);
  const KvCache::SequenceId first = cache.create();
  cache.append(first, 6);
  const std::vector<uint32_t> before = pages_of(cache, first);
  ASSERT_EQ(before.size(), 2u);
  const KvCache::SequenceId second = cache.fork(first);
  EXPECT_EQ(pages_of(cache, second), before);
  EXPECT_TRUE(cache.take_page_copies().empty());  // nobody has written

  cache.append(second, 1);
  const std::vector<uint32_t> after = pages_of(cache, second);
  EXPECT_EQ(pages_of(cache, first), before);
  EXPECT_EQ(after[0], before[0]);  // full: both go on reading it
  EXPECT_NE(after[1], before[1]);
  const std::vector<KvCache::PageCopy> copies = cache.take_page_copies();
  ASSERT_EQ(copies.size(), 1u);
  EXPECT_EQ(copies[0].from, before[1]);
  EXPECT_EQ(copies[0].to, after[1]);
  EXPECT_TRUE(cache.take_page_copies().empty());
  cache.append(first, 1);  // the page is its own by now
  EXPECT_TRUE(cache.take_page_copies().empty());
}

TEST(KvElsewhere, ThereIsNothingToSave) {
  KvCache cache({{{2, 8}}, DType::kF32, 4}, 64);
  const KvCache::SequenceId sequence = cache.create();
  cache.append(sequence, 3);
  EXPECT_TRUE(cache.can_save(sequence));
  cache.hold_elsewhere();
  EXPECT_FALSE(cache.can_save(sequence));
}

}  // namespace
}  // namespace hunch
