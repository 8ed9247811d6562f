#include "formats/kv_type.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "formats/format.h"

namespace hunch {
namespace {

TEST(KvTypes, NamesAreReadBack) {
  const std::vector<std::string> names = kv_type_names();
  for (const std::string& name : names) {
    const auto type = kv_type_from_name(name);
    ASSERT_TRUE(type) << name;
    EXPECT_EQ(name_of(*type), name);
  }
  for (const char* name : {"f32", "f16", "q8_0", "q4_0", "q8_0-rot", "q4_0-rot", "kivi-2", "kivi-4"})
    EXPECT_EQ(std::ranges::count(names, name), 1) << name;
  for (const char* wrong : {"", "f16-rot", "q4_k", "q4_k-rot", "kivi-3", "kivi", "-rot", "q4_0-rot-rot"})
    EXPECT_FALSE(kv_type_from_name(wrong)) << wrong;
}

TEST(KvTypes, SizesAreThoseOfTheirBits) {
  EXPECT_EQ(kv_value_bytes(DType::kF32, 64), 256u);
  EXPECT_EQ(kv_value_bytes(KvType::rotated_of(DType::kQ4_0), 64), 36u);
  EXPECT_EQ(kv_value_bytes(KvType::kivi(2), 64), 24u);  // 3 bits
  EXPECT_EQ(kv_value_bytes(KvType::kivi(4), 64), 40u);
}

TEST(KvTypes, WhatDoesNotFitIsNamed) {
  for (const char* name : {"q4_0", "q4_0-rot", "kivi-2"}) {
    try {
      check_kv_type(*kv_type_from_name(name), 80);
      ADD_FAILURE() << name;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("80"), std::string::npos) << e.what();
    }
  }
  check_kv_type(*kv_type_from_name("q4_0-rot"), 96);
  check_kv_type(DType::kF16, 7);
}

}  // namespace
}  // namespace hunch
