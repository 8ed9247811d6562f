#include "io/model_file.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/test_errors.h"

namespace hunch {
namespace {

TEST(Metadata, KeepsInsertionOrderThroughReplacementAndErasure) {
  Metadata meta;
  meta.set("c", uint32_t{1});
  meta.set("a", uint32_t{2});
  meta.set("b", uint32_t{3});
  meta.set("c", std::string("new"));
  EXPECT_EQ(meta.keys(), (std::vector<std::string>{"c", "a", "b"}));
  meta.erase("a");
  meta.erase("absent");
  EXPECT_EQ(meta.keys(), (std::vector<std::string>{"c", "b"}));
  EXPECT_EQ(meta.get_string("c"), "new");
  EXPECT_FALSE(meta.has("a"));
}

TEST(Metadata, ConvertsBetweenIntegerWidthsWhereTheValueFits) {
  Metadata meta;
  meta.set("i8", int8_t{-3});
  meta.set("u64", UINT64_MAX);
  meta.set("u16", uint16_t{65535});
  meta.set("f32", 0.5f);
  EXPECT_EQ(meta.get_int("i8"), -3);
  EXPECT_EQ(meta.get_uint("u64"), UINT64_MAX);
  EXPECT_EQ(meta.get_uint("u16"), 65535u);
  EXPECT_EQ(meta.get_float("u16"), 65535.0);
  EXPECT_EQ(meta.get_float("f32"), 0.5);
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { meta.get_uint("i8"); })
                .find("'i8': expected a non-negative integer, found the int8 -3"),
            std::string::npos);
  message_of(ErrorKind::kFormat, [&] { meta.get_int("u64"); });
  message_of(ErrorKind::kFormat, [&] { meta.get_int("f32"); });
  message_of(ErrorKind::kFormat, [&] { meta.get_bool("u16"); });
  message_of(ErrorKind::kFormat, [&] { meta.get_string("u16"); });
}

TEST(Metadata, FallbackAnswersForMissingKeysOnly) {
  Metadata meta;
  meta.set("text", std::string("x"));
  EXPECT_EQ(meta.get_uint("absent", 7), 7u);
  EXPECT_EQ(meta.get_int("absent", -7), -7);
  EXPECT_EQ(meta.get_float("absent", 1e-5), 1e-5);
  EXPECT_EQ(meta.get_string("absent", "y"), "y");
  EXPECT_TRUE(meta.get_bool("absent", true));
  message_of(ErrorKind::kFormat, [&] { meta.get_uint("text", 7); });
  EXPECT_NE(message_of(ErrorKind::kNotFound, [&] { meta.get_uint("absent"); }).find("'absent'"), std::string::npos);
}

TEST(Metadata, ArraysConvertAndStringsAreNotCopied) {
  Metadata meta;
  meta.set("u8", MetaArray(std::vector<uint8_t>{1, 255}));
  meta.set("f64", MetaArray(std::vector<double>{0.25, 1e300, -1e300}));
  meta.set("bool", MetaArray(std::vector<bool>{true, false}));
  meta.set("strings", MetaArray(std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(meta.get_ints("u8"), (std::vector<int64_t>{1, 255}));
  EXPECT_EQ(meta.get_floats("u8"), (std::vector<float>{1, 255}));
  EXPECT_EQ(meta.get_ints("bool"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(meta.get_floats("f64"), (std::vector<float>{0.25f, INFINITY, -INFINITY}));
  EXPECT_EQ(meta.get_strings("strings").size(), 2u);
  EXPECT_EQ(&meta.get_strings("strings"), &meta.get_strings("strings"));
  message_of(ErrorKind::kFormat, [&] { meta.get_ints("f64"); });
  message_of(ErrorKind::kFormat, [&] { meta.get_floats("strings"); });
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { meta.get_strings("u8"); }).find("an array of 2 uint8 values"),
            std::string::npos);
}

TEST(ModelFile, GetSuggestsTheClosestName) {
  ModelFile model;
  for (const char* name : {"token_embd.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight"}) {
    Tensor tensor;
    tensor.name = name;
    model.tensors.push_back(tensor);
  }
  model.index();
  EXPECT_EQ(model.get("blk.0.attn_q.weight").name, "blk.0.attn_q.weight");
  EXPECT_EQ(model.find("blk.0.attn_q.weigh"), nullptr);
  EXPECT_NE(message_of(ErrorKind::kNotFound, [&] { model.get("blk.0.atn_k.weight"); }).find("is 'blk.0.attn_k.weight'"),
            std::string::npos);
}

TEST(ModelFile, RefusesTwoTensorsOfOneName) {
  ModelFile model;
  model.tensors.resize(2);
  model.tensors[0].name = model.tensors[1].name = "twin";
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { model.index(); }).find("'twin'"), std::string::npos);
}

}  // namespace
}  // namespace hunch
