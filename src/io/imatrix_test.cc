// Importance matrices: the GGUF form there and back, the older list byte by byte, and what is wrong with others.
#include "io/imatrix.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

ByteBuilder& entry(ByteBuilder& b, std::string_view name, int calls, std::span<const float> values) {
  b.i32(int(name.size())).raw(name).i32(calls).i32(int(values.size()));
  for (const float v : values) b.f32(v);
  return b;
}

TEST(Imatrix, TheGgufFormComesBackAsItWas) {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.ffn_up_exps.weight"] = {3, {1, 2, 3, 4, 5, 6}, {2, 0}};
  matrix.entries["output.weight"] = {2, {0.5f, 0}, {8}};
  matrix.texts = {"book.txt"};
  matrix.n_chunks = 7;
  matrix.chunk_tokens = 512;
  const fs::path path = fs::temp_directory_path() / ("hunch_imatrix_" + std::to_string(getpid()) + ".gguf");
  write_imatrix(path, matrix);
  const ImportanceMatrix read = open_imatrix(path);
  const ModelFile file = open_gguf(path);
  fs::remove(path);
  EXPECT_EQ(read.texts, matrix.texts);
  EXPECT_EQ(read.n_chunks, 7u);
  EXPECT_EQ(read.chunk_tokens, 512u);
  ASSERT_EQ(read.entries.size(), 2u);
  const auto* experts = read.find("blk.0.ffn_up_exps.weight");
  ASSERT_NE(experts, nullptr);
  EXPECT_EQ(experts->sums, matrix.entries["blk.0.ffn_up_exps.weight"].sums);
  EXPECT_EQ(experts->means(0), (std::vector<float>{0.5f, 1, 1.5f}));
  EXPECT_EQ(experts->means(1), (std::vector<float>{2.5f, 3.5f, 4.5f})) << "who read nothing is weighed as all are";
  EXPECT_EQ(read.find("blk.1.ffn_up_exps.weight"), nullptr);
  // As llama.cpp names them: sums of squares by row of experts, and a column of counts.
  EXPECT_EQ(file.meta.get_string("general.type"), "imatrix");
  EXPECT_EQ(file.get("blk.0.ffn_up_exps.weight.in_sum2").shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(file.get("blk.0.ffn_up_exps.weight.counts").shape, (std::vector<uint64_t>{2, 1}));
}

TEST(Imatrix, TheOlderListIsRead) {
  ByteBuilder b;
  b.i32(2);
  entry(b, "blk.0.attn_q.weight", 4, std::vector<float>{4, 8});
  entry(b, "blk.0.ffn_down_exps.weight", 2, std::vector<float>{2, 4, 6, 8});
  b.i32(9).i32(4).raw("book");
  const ImportanceMatrix read = parse_imatrix(as_byte_span(b.bytes));
  EXPECT_EQ(read.find("blk.0.attn_q.weight")->means(0), (std::vector<float>{1, 2}));
  EXPECT_EQ(read.find("blk.0.ffn_down_exps.weight")->means(0), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(read.n_chunks, 9u);
  EXPECT_EQ(read.texts, std::vector<std::string>{"book"});
}

TEST(Imatrix, WhatIsNoneIsRefused) {
  const auto refused = [](const std::string& bytes) {
    try {
      parse_imatrix(as_byte_span(bytes));
    } catch (const Error& e) {
      return e.kind() == ErrorKind::kFormat;
    }
    return false;
  };
  ByteBuilder good;
  good.i32(1);
  entry(good, "a", 1, std::vector<float>{1, 2});
  EXPECT_FALSE(refused(good.bytes));
  for (size_t n = 0; n < good.bytes.size(); ++n) EXPECT_TRUE(refused(good.bytes.substr(0, n))) << n;
  ByteBuilder negative, infinite, twice;
  entry(negative.i32(1), "a", 1, std::vector<float>{-1});
  entry(infinite.i32(1), "a", 1, std::vector<float>{INFINITY});
  entry(entry(twice.i32(2), "a", 1, std::vector<float>{1}), "a", 1, std::vector<float>{1});
  for (const ByteBuilder* b : {&negative, &infinite, &twice}) EXPECT_TRUE(refused(b->bytes));
}

}  // namespace
}  // namespace hunch
