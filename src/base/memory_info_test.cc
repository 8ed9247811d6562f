#include "base/memory_info.h"

#include <gtest/gtest.h>

namespace hunch {

TEST(MemoryInfo, SomethingIsAvailableAndNoMoreThanAnyMachineHas) {
  const uint64_t bytes = available_memory_bytes();
  EXPECT_GT(bytes, uint64_t{1} << 20);
#ifdef __linux__
  EXPECT_LT(bytes, uint64_t{1} << 50) << "neither /proc/meminfo nor a cgroup limit was understood";
#endif
}

}  // namespace hunch
