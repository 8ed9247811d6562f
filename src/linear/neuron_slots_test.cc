#include "linear/neuron_slots.h"

#include <gtest/gtest.h>

#include <cstring>

#include "linear/test_disk.h"

namespace hunch {
namespace {

constexpr size_t kNeurons = 300, kRow = 100, kLastRow = 36;

class NeuronSlotsTest : public testing::Test {
 protected:
  TestFile file_{"neuron_slots_test", 200000};
  DiskFile disk_{file_.path};
  FaultyReader reader_;
  DiskStats stats_;
  NeuronSlots slots_{reader_, stats_};

  // Its two parts one behind the other, or far apart.
  uint32_t add(bool together, uint64_t first) {
    const size_t stride = together ? kRow + kLastRow : kRow;
    return slots_.add(
        kNeurons, {{&disk_, first, stride, kRow}, {&disk_, together ? first + kRow : first + 70001, stride, kLastRow}});
  }
  const char* wanted(bool together, uint64_t first, size_t part, size_t neuron) const {
    const size_t stride = together ? kRow + kLastRow : kRow;
    const uint64_t base = part == 0 ? first : together ? first + kRow : first + 70001;
    return file_.bytes.data() + base + neuron * stride;
  }
  void expect_there(uint32_t mlp, bool together, uint64_t first, size_t part, std::span<const uint32_t> ids) {
    const NeuronSlots::Places at = slots_.places(mlp, part);
    for (const uint32_t id : ids) {
      ASSERT_LT(at.slot_of[id], at.n_slots) << id;
      EXPECT_EQ(std::memcmp(at.data + at.slot_of[id] * at.stride, wanted(together, first, part, id),
                            part == 0 ? kRow : kLastRow),
                0)
          << "neuron " << id << " part " << part;
    }
  }
};

std::vector<uint32_t> some_neurons(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < kNeurons; ++i)
    if (rng() % kNeurons < n) ids.push_back(i);
  return ids;
}

TEST_F(NeuronSlotsTest, BringsTheBytesOfNeuronsThatComeAndGo) {
  for (const size_t first_part : {0, 1}) {
    const uint32_t a = add(true, 13), b = add(false, 50000);
    slots_.resize(80 * 192, first_part, 4096);  // less than are used in turn
    for (uint32_t round = 0; round < 30; ++round) {
      const bool together = round % 3 != 0;
      const std::vector<uint32_t> ids = some_neurons(30, round / 4);  // some of them again and again
      if (ids.size() > 40) continue;
      if (round % 2) slots_.expect(together ? a : b, some_neurons(20, round / 4));
      if (round % 5 == 0) slots_.expect(together ? b : a, some_neurons(20, round));
      ASSERT_TRUE(slots_.fetch(together ? a : b, first_part, ids));
      for (size_t part = first_part; part < 2; ++part)
        expect_there(together ? a : b, together, together ? 13 : 50000, part, ids);
    }
  }
  EXPECT_GT(stats_.n_neurons_missed, 0u);
  EXPECT_LT(stats_.n_neurons_missed, stats_.n_neurons);
  EXPECT_EQ(stats_.n_bytes, reader_.n_bytes);
  EXPECT_EQ(stats_.n_reads, reader_.n_reads);
}

TEST_F(NeuronSlotsTest, TheOldestMakeRoom) {
  const uint32_t a = add(true, 0);
  slots_.resize(8 * 192, 0, 4096);
  const auto missed = [&](std::vector<uint32_t> ids) {
    const uint64_t before = stats_.n_neurons_missed;
    EXPECT_TRUE(slots_.fetch(a, 0, ids));
    return stats_.n_neurons_missed - before;
  };
  EXPECT_EQ(missed({0, 1, 2, 3}), 4u);
  EXPECT_EQ(missed({4, 5, 6, 7}), 4u);
  EXPECT_EQ(missed({0, 1}), 0u);
  EXPECT_EQ(missed({8, 9}), 2u);  // in the place of 2 and 3
  EXPECT_EQ(missed({0, 1, 4, 5}), 0u);
  EXPECT_EQ(missed({2, 3}), 2u);  // of 6 and 7
  EXPECT_EQ(missed({6, 7}), 2u);
}

TEST_F(NeuronSlotsTest, NeighboursAreReadAtOnce) {
  const uint32_t a = add(true, 0), b = add(false, 1000);
  slots_.resize(600 * 192, 0, 1 << 20);
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < 100; ++i) ids.push_back(i);
  ASSERT_TRUE(slots_.fetch(a, 0, ids));
  EXPECT_EQ(reader_.n_reads, 1u);
  ASSERT_TRUE(slots_.fetch(b, 0, ids));
  EXPECT_EQ(reader_.n_reads, 3u);  // a read for each part
}

TEST_F(NeuronSlotsTest, TooManyOrAnEarlierPartIsSaidAndNotDone) {
  const uint32_t a = add(true, 0);
  slots_.resize(8 * 64, 1, 4096);
  EXPECT_FALSE(slots_.fetch(a, 0, std::vector<uint32_t>{1}));
  EXPECT_FALSE(slots_.fetch(a, 1, std::vector<uint32_t>{1, 2, 3, 4, 5}));
  EXPECT_TRUE(slots_.fetch(a, 1, std::vector<uint32_t>{1, 2, 3, 4}));
  slots_.resize(0, 0, 0);
  EXPECT_FALSE(slots_.fetch(a, 1, std::vector<uint32_t>{1}));
}

TEST_F(NeuronSlotsTest, AFailedReadLeavesNothingBehind) {
  const uint32_t a = add(false, 0);
  slots_.resize(100 * 192, 0, 4096);  // one read after the other
  const std::vector<uint32_t> ids = some_neurons(40, 3);
  for (size_t n = 0; n < 200; ++n) {
    reader_.fails_after = n;
    bool failed = false;
    try {
      slots_.fetch(a, 0, ids);
    } catch (const Error& e) {
      failed = true;
      EXPECT_EQ(e.kind(), ErrorKind::kIo);
    }
    const bool was_asked = reader_.fails_after == SIZE_MAX;
    EXPECT_EQ(failed, was_asked) << n;
    reader_.fails_after = SIZE_MAX;
    ASSERT_TRUE(slots_.fetch(a, 0, ids));
    for (const size_t part : {0, 1}) expect_there(a, false, 0, part, ids);
    if (!was_asked) break;
    slots_.resize(100 * 192, 0, 4096);
  }
}

TEST_F(NeuronSlotsTest, WhatTheReaderDidNotTakeIsNotThere) {
  const uint32_t mlp = add(true, 13);
  slots_.resize(80 * 192, 0, 8192);
  const std::vector<uint32_t> ids = {3, 90, 91, 200};
  reader_.takes_none = true;
  EXPECT_THROW(slots_.fetch(mlp, 0, ids), Error);
  ASSERT_TRUE(slots_.fetch(mlp, 0, ids));
  expect_there(mlp, true, 13, 0, ids);
}

}  // namespace
}  // namespace hunch
