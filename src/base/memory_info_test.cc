#include "base/memory_info.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/error.h"

namespace hunch {

TEST(MemoryInfo, SomethingIsAvailableAndNoMoreThanAnyMachineHas) {
  const uint64_t bytes = available_memory_bytes();
  EXPECT_GT(bytes, uint64_t{1} << 20);
#ifdef __linux__
  EXPECT_LT(bytes, uint64_t{1} << 50) << "neither /proc/meminfo nor a cgroup limit was understood";
#endif
}

#ifdef __linux__
TEST(MemoryInfo, RespectsTheLimitOfTheAddressSpace) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  uint64_t n_pages = 0;
  std::ifstream("/proc/self/statm") >> n_pages;
  const uint64_t room = uint64_t{100} << 20;
  rlimit tight = before;
  tight.rlim_cur = n_pages * uint64_t(sysconf(_SC_PAGE_SIZE)) + room;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const uint64_t bytes = available_memory_bytes();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_LE(bytes, room);
  EXPECT_GT(bytes, room / 2);
}
#endif

TEST(MemoryInfo, WhatDoesNotFitIsRefusedByName) {
  EXPECT_NO_THROW(require_memory(1, "a byte"));
  try {
    require_memory(uint64_t{1} << 60, "everything", "ask for less");
    FAIL() << "2^60 bytes were granted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
    const std::string message = e.what();
    EXPECT_NE(message.find("everything takes 1152921504.6 GB"), message.npos) << message;
    EXPECT_NE(message.find("ask for less"), message.npos) << message;
  }
}

}  // namespace hunch
