#include "linear/piece_frames.h"

#include <gtest/gtest.h>

#include <cstring>

#include "linear/test_disk.h"

namespace hunch {
namespace {

constexpr size_t kPieces = 8, kPieceBytes = 30001, kFrameBytes = kPieceBytes + 3 * DiskFile::kMostAlign;

class PieceFramesTest : public testing::Test {
 protected:
  TestFile file_{"piece_frames_test", kPieces* kPieceBytes + 17};
  DiskFile disk_{file_.path};
  FaultyReader reader_;
  DiskStats stats_;
  PieceFrames frames_{reader_, stats_};

  void add(bool routed) {
    for (size_t i = 0; i < kPieces; ++i) frames_.add(disk_, 17 + i * kPieceBytes, kPieceBytes, routed);
  }
  void expect_there(uint32_t piece) {
    EXPECT_EQ(std::memcmp(frames_.whole(piece), file_.bytes.data() + 17 + piece * kPieceBytes, kPieceBytes), 0)
        << piece;
  }
};

TEST_F(PieceFramesTest, ThoseThatComeInTurnAreKeptAsFarAsThereIsRoom) {
  add(false);
  frames_.resize(5 * kFrameBytes);
  for (size_t round = 0; round < 6; ++round)
    for (uint32_t i = 0; i < kPieces; ++i) expect_there(i);
  const size_t before = reader_.n_bytes;
  const uint64_t missed = stats_.n_pieces_missed;
  for (uint32_t i = 0; i < kPieces; ++i) expect_there(i);
  // What was used last comes last again: one frame computes, one reads ahead, the others stay.
  EXPECT_LE(reader_.n_bytes - before, (kPieces - 3) * (kPieceBytes + 1024));
  EXPECT_EQ(stats_.n_pieces_missed, missed);  // all of these were on their way when they were asked for
  EXPECT_LE(frames_.held_bytes(), 5 * kFrameBytes);
}

TEST_F(PieceFramesTest, ThoseWhoseTurnDoesNotComeMakeRoom) {
  add(false);
  frames_.resize(5 * kFrameBytes);
  for (size_t round = 0; round < 3; ++round)
    for (uint32_t i = 0; i < kPieces; ++i) expect_there(i);
  const auto half = [&] {
    const size_t before = reader_.n_reads;
    for (uint32_t i = 0; i < kPieces; i += 2) expect_there(i);
    return reader_.n_reads - before;
  };
  for (size_t round = 0; round < 6; ++round) half();
  EXPECT_EQ(half(), 0u);  // four of five frames
}

TEST_F(PieceFramesTest, ExpertsThatAreExpectedAreThereAndThoseUsedLastStay) {
  add(true);
  frames_.resize(4 * kFrameBytes);
  frames_.expect(std::vector<uint32_t>{1, 3}, false);
  frames_.expect(std::vector<uint32_t>{5, 6, 7}, true);  // a guess, of which one does not fit
  const uint64_t missed = stats_.n_pieces_missed;
  expect_there(1);
  expect_there(3);
  frames_.expect(std::vector<uint32_t>{5, 2}, false);  // in the place of what was not used, or was first
  expect_there(5);
  expect_there(2);
  EXPECT_EQ(stats_.n_pieces_missed, missed);
  EXPECT_EQ(stats_.n_unused, 1u);
  const size_t before = reader_.n_reads;
  expect_there(3);
  expect_there(5);
  EXPECT_EQ(reader_.n_reads, before);
}

TEST_F(PieceFramesTest, AFailedReadLeavesNothingBehind) {
  for (const bool routed : {false, true}) {
    PieceFrames frames(reader_, stats_);
    for (size_t i = 0; i < kPieces; ++i) frames.add(disk_, 17 + i * kPieceBytes, kPieceBytes, routed);
    frames.resize(3 * kFrameBytes);
    size_t n_failed = 0;
    for (size_t n = 0; n < 40; ++n) {
      reader_.fails_after = n % 3;
      for (uint32_t i = 0; i < kPieces; ++i) {
        if (routed) frames.expect(std::vector<uint32_t>{i, (i + 1) % uint32_t(kPieces)}, false);
        for (size_t again = 0;; ++again) {
          try {
            const std::byte* data = frames.whole(i);
            ASSERT_EQ(std::memcmp(data, file_.bytes.data() + 17 + i * kPieceBytes, kPieceBytes), 0);
            break;
          } catch (const Error& e) {
            EXPECT_EQ(e.kind(), ErrorKind::kIo);
            ++n_failed;
            ASSERT_EQ(again, 0u);
          }
        }
      }
    }
    EXPECT_EQ(n_failed > 0, !routed);  // what was only expected is read again, and counted
  }
  EXPECT_GT(stats_.n_failed_ahead, 0u);
}

TEST_F(PieceFramesTest, WhatTheReaderDidNotTakeIsNotThere) {
  add(false);
  frames_.resize(4 * kFrameBytes);
  for (uint32_t i = 0; i < kPieces; ++i) {
    reader_.takes_none = true;
    EXPECT_THROW(frames_.whole(i), Error);
    expect_there(i);
  }
}

TEST_F(PieceFramesTest, NoRoomIsAnError) {
  add(false);
  frames_.resize(kFrameBytes / 2);
  try {
    frames_.whole(0);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
  }
  frames_.resize(3 * kFrameBytes);
  expect_there(0);
  expect_there(1);
  frames_.resize(kFrameBytes);
  EXPECT_LE(frames_.held_bytes(), kFrameBytes);
  expect_there(1);
  expect_there(2);
}

}  // namespace
}  // namespace hunch
