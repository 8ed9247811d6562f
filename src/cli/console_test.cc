#include "cli/console.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cli/npy.h"

namespace hunch::cli {
namespace {

TEST(Console, NumbersForPeople) {
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(999.7), "1 K");
  EXPECT_EQ(human_count(12345678), "12.3 M");
  EXPECT_EQ(human_count(999.9e6), "1 G");
  EXPECT_EQ(human_bytes(48e6), "48 MB");
  EXPECT_EQ(human_bytes(17), "17 B");
  EXPECT_EQ(grouped(7), "7");
  EXPECT_EQ(grouped(1234), "1,234");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(Console, TimeLeftIsThatOfTheWhole) {
  TimeLeft left;
  EXPECT_EQ(left.at(0, 20, 5), "");
  EXPECT_EQ(left.at(1, 20, 5.5), "");  // too early
  EXPECT_EQ(left.at(5, 20, 15), "30 s left");
  EXPECT_EQ(left.at(10, 20, 25), "20 s left");
  EXPECT_EQ(left.at(20, 20, 45), "");
  EXPECT_EQ(left.at(0, 20, 50), "");  // the next, as long
  EXPECT_EQ(left.at(10, 20, 60), "10 s left");
  EXPECT_EQ(left.at(40, 100, 70), "");  // another, of which much was done before
  EXPECT_EQ(left.at(50, 100, 80), "50 s left");
}

TEST(Npy, DataBeginsAtAMultipleOf64) {
  for (size_t n : {size_t(1), size_t(10), size_t(12345), size_t(999999999)}) {
    const std::string header = npy_header("<f4", {n, 50272});
    EXPECT_EQ(header.size() % 64, 0u);
    EXPECT_EQ(header.back(), '\n');
    EXPECT_NE(header.find(fmt::format("'descr': '<f4', 'fortran_order': False, 'shape': ({}, 50272", n)), header.npos);
    EXPECT_EQ(size_t(uint8_t(header[8])) + 256 * size_t(uint8_t(header[9])) + 10, header.size());
  }
}

}  // namespace
}  // namespace hunch::cli
