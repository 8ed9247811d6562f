#include "serve/disk_memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <random>

#include "base/error.h"

namespace hunch::serve {
namespace {

using Ids = std::vector<int32_t>;

class DiskMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  DiskMemory::Options options(uint64_t most_bytes = 1 << 20, std::string key = "this model") {
    return {folder_, most_bytes, std::move(key), [this](const std::string& what) { warnings_.push_back(what); }};
  }
  Ids ids(int32_t seed, size_t n) const {
    Ids all;
    for (size_t i = 0; i < n; ++i) all.push_back(seed * 1000 + int32_t(i));
    return all;
  }
  // A sequence whose values name their token.
  KvCache::SequenceId sequence_of(std::span<const int32_t> text) {
    const auto id = cache_.create();
    cache_.append(id, text.size());
    for (size_t layer = 0; layer < shape_.n_layer(); ++layer)
      for (size_t t = 0; t < text.size(); ++t) {
        const std::vector<float> k(6, float(text[t]) + 0.25f * float(layer)), v(6, -float(text[t]));
        cache_.store(id, layer, t, {k.data(), 1, 6}, {v.data(), 1, 6});
      }
    return id;
  }
  void save(DiskMemory& disk, const Ids& text, const std::string& plan = "exact") {
    const auto id = sequence_of(text);
    EXPECT_TRUE(disk.save(cache_, id, text, plan, true));
    cache_.release(id);
  }
  // Whether the text comes back as it was saved.
  bool is_whole(const std::optional<DiskMemory::Text>& text) {
    if (!text) return false;
    const auto want = sequence_of(text->ids), got = cache_.create();
    cache_.load(got, text->ids.size(), text->keys);
    const bool same = cache_.save(want, text->ids.size()) == cache_.save(got, text->ids.size());
    cache_.release(want);
    cache_.release(got);
    return same;
  }
  size_t n_files() const {
    size_t n = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(folder_)) ++n;
    return n;
  }

  const std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / "disk_memory_test";
  const KvShape shape_{{{2, 3}, {2, 3}}, DType::kF32, 8};
  KvCache cache_{shape_, 4096};
  std::vector<std::string> warnings_;
};

TEST_F(DiskMemoryTest, TextsComeBackInAnotherLife) {
  {
    DiskMemory disk(options(), shape_);
    save(disk, ids(1, 100));
    save(disk, ids(2, 77));
    save(disk, ids(2, 77), "dense");
    const auto id = sequence_of(ids(3, 63));
    EXPECT_FALSE(disk.save(cache_, id, ids(3, 63), "exact")) << "too short to be worth it";
  }
  DiskMemory disk(options(), shape_);
  EXPECT_EQ(disk.n_texts(), 3u);
  Ids asked = ids(1, 90);
  asked.push_back(-1);
  const DiskMemory::Found found = disk.find(asked, "exact");
  EXPECT_EQ(found.n_alike, 90u);
  const auto text = disk.load(found.name);
  ASSERT_TRUE(text);
  EXPECT_EQ(text->ids, ids(1, 100));
  EXPECT_TRUE(is_whole(text));
  EXPECT_EQ(disk.find(asked, "dense").n_alike, 0u) << "another plan's keys";
  EXPECT_EQ(DiskMemory(options(1 << 20, "another model"), shape_).n_texts(), 0u);
  EXPECT_EQ(DiskMemory(options(), {{{2, 3}, {2, 3}}, DType::kF16, 8}).n_texts(), 0u) << "of another size";
}

TEST_F(DiskMemoryTest, ALongerTextTakesThePlaceOfItsBeginning) {
  {
    DiskMemory disk(options(), shape_);
    save(disk, ids(1, 80));
    save(disk, ids(1, 120));
    save(disk, ids(1, 100));  // it is there
  }
  DiskMemory disk(options(), shape_);
  EXPECT_EQ(disk.n_texts(), 1u);
  EXPECT_EQ(n_files(), 1u);
  EXPECT_EQ(disk.find(ids(1, 200), "exact").n_alike, 120u);
}

TEST_F(DiskMemoryTest, WhatWasNotUsedForLongestGoes) {
  const uint64_t of_one = KvCache::saved_bytes(shape_, 100) + 100 * 4 + 200;
  {
    DiskMemory disk(options(3 * of_one), shape_);
    for (int32_t i = 1; i <= 3; ++i) save(disk, ids(i, 100));
    save(disk, ids(9, 400));  // larger than all there may be
  }
  {
    DiskMemory disk(options(3 * of_one), shape_);
    ASSERT_EQ(disk.n_texts(), 3u);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(disk.load(disk.find(ids(1, 100), "exact").name));
    save(disk, ids(4, 100));
  }
  DiskMemory disk(options(3 * of_one), shape_);
  EXPECT_EQ(disk.find(ids(1, 100), "exact").n_alike, 100u);
  // The second or the third: perhaps they were written within one tick of the clock of the file system.
  EXPECT_EQ(disk.find(ids(2, 100), "exact").n_alike + disk.find(ids(3, 100), "exact").n_alike, 100u);
  EXPECT_EQ(disk.find(ids(4, 100), "exact").n_alike, 100u);
}

TEST_F(DiskMemoryTest, ADamagedFileIsNoText) {
  {
    DiskMemory disk(options(), shape_);
    save(disk, ids(1, 100));
  }
  const std::filesystem::path path = std::filesystem::directory_iterator(folder_)->path();
  const std::string whole = read_file(path);
  std::mt19937 rng(5);
  size_t n_noticed_late = 0;
  for (size_t i = 0; i < 300; ++i) {
    std::string damaged = whole;
    if (i % 3 == 0) {
      damaged.resize(i == 0 ? 0 : rng() % damaged.size());
    } else {
      for (size_t k = 0; k <= rng() % 3; ++k) damaged[rng() % (i % 2 ? 200 : damaged.size())] ^= char(1 << rng() % 8);
    }
    std::ofstream(path, std::ios::binary) << damaged;
    DiskMemory disk(options(), shape_);
    const DiskMemory::Found found = disk.find(ids(1, 100), "exact");
    if (found.n_alike == 0) continue;
    if (damaged == whole) continue;
    ++n_noticed_late;
    EXPECT_FALSE(disk.load(found.name));
    EXPECT_EQ(disk.n_texts(), 0u);
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_GT(n_noticed_late, 50u);
}

TEST_F(DiskMemoryTest, AFolderThatCannotBeWrittenIsSaidOnce) {
  DiskMemory::Options full = options();
  full.folder = "/proc/self/fdinfo";  // a folder in which nobody makes files, root neither
  {
    DiskMemory disk(full, shape_);
    save(disk, ids(1, 100));
    save(disk, ids(2, 100));
  }
  EXPECT_EQ(warnings_.size(), 1u);
  full.folder = "/dev/null/texts";
  EXPECT_THROW(DiskMemory(full, shape_), Error);
}

TEST_F(DiskMemoryTest, ItsThreadReads) {
  {
    DiskMemory disk(options(), shape_);
    for (int32_t seed = 1; seed < 4; ++seed) save(disk, ids(seed, 70));
  }
  std::promise<void> go;
  DiskMemory::Options own = options();
  own.before_reading = [wait = go.get_future().share()] { wait.wait(); };
  DiskMemory disk(own, shape_);
  const auto name = [&](int32_t seed) { return disk.find(ids(seed, 70), "exact").name; };
  EXPECT_TRUE(disk.fetch(name(1)));
  EXPECT_TRUE(disk.fetch(name(2)));
  EXPECT_TRUE(disk.fetch(name(1)));  // which is on its way
  EXPECT_FALSE(disk.fetch(name(3)));
  EXPECT_TRUE(disk.is_fetching(name(1)));
  EXPECT_FALSE(disk.take(name(1)));
  disk.drop(name(2));
  go.set_value();
  const auto wait_for = [&](int32_t seed) {
    while (disk.is_fetching(name(seed))) std::this_thread::yield();
  };
  wait_for(1);
  wait_for(2);
  EXPECT_TRUE(is_whole(disk.take(name(1))));
  EXPECT_FALSE(disk.take(name(1)));  // once
  EXPECT_FALSE(disk.take(name(2)));  // nobody wanted it
  EXPECT_TRUE(disk.fetch(name(3)));
  EXPECT_TRUE(disk.fetch(name(2)));
  wait_for(3);
  wait_for(2);
  disk.drop(name(3));
  EXPECT_FALSE(disk.take(name(3)));
  EXPECT_TRUE(is_whole(disk.take(name(2))));
}

}  // namespace
}  // namespace hunch::serve
