// What drivers refuse, in words.
#include "vulkan/test_gpu.h"

namespace hunch::vulkan {
namespace {

std::pair<ErrorKind, std::string> thrown_by(VkResult result) {
  try {
    check(result, "computing a step");
  } catch (const Error& e) {
    return {e.kind(), e.what()};
  }
  return {ErrorKind::kUsage, "nothing"};
}

TEST(VulkanFaults, EachHasItsKindAndItsWords) {
  const auto expect = [](VkResult result, ErrorKind kind, const char* words) {
    const auto [found, message] = thrown_by(result);
    EXPECT_EQ(found, kind) << message;
    EXPECT_NE(message.find(words), std::string::npos) << message;
    EXPECT_NE(message.find("computing a step"), std::string::npos) << message;
  };
  expect(VK_ERROR_DEVICE_LOST, ErrorKind::kIo, "the device was lost: the driver reset it, or it was taken out (-4)");
  expect(VK_ERROR_OUT_OF_DEVICE_MEMORY, ErrorKind::kMemory, "the device has no memory left, perhaps others use it");
  expect(VK_ERROR_OUT_OF_HOST_MEMORY, ErrorKind::kMemory, "no memory of this machine left");
  expect(VK_ERROR_INCOMPATIBLE_DRIVER, ErrorKind::kNotFound, "there is no Vulkan driver");
  expect(VK_ERROR_INITIALIZATION_FAILED, ErrorKind::kIo, "the driver could not be started");
  EXPECT_EQ(thrown_by(VK_SUCCESS).second, "nothing");
  EXPECT_EQ(thrown_by(VK_INCOMPLETE).second, "nothing");
}

using MemoryTest = GpuTest;

TEST_F(MemoryTest, WhatIsTakenIsNoLongerFreeAndALimitCounts) {
  const uint64_t free = gpu_->free_bytes(), used = gpu_->used_bytes();
  {
    DeviceArena other(gpu_);
    other.take(uint64_t{1} << 20);
    EXPECT_EQ(gpu_->used_bytes(), used + (uint64_t{1} << 20));
    EXPECT_LT(gpu_->free_bytes(), free);
    DeviceArena host(gpu_, MemoryKind::kUpload);
    host.take(uint64_t{1} << 20);
    EXPECT_EQ(gpu_->used_bytes(), used + (uint64_t{1} << 20));  // of the host
  }
  EXPECT_EQ(gpu_->used_bytes(), used);
  gpu_->limit_memory(used + 1000);
  EXPECT_EQ(gpu_->free_bytes(), 1000u);
  try {
    gpu_->require_memory(uint64_t{2'000'000'000}, "the model", "use another one");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
    EXPECT_NE(std::string(e.what()).find("the model needs 2.0 GB of the memory of vulkan:0"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("which has 0.0 MB left; use another one"), std::string::npos) << e.what();
  }
  gpu_->limit_memory(0);
  try {
    arena_->take(UINT64_MAX / 2);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
  }
}

}  // namespace
}  // namespace hunch::vulkan
