#include "io/rotated_tensors.h"

#include <gtest/gtest.h>

#include "io/test_errors.h"

namespace hunch {
namespace {

struct Example {
  std::vector<float> values = {1, 2, 3, 4};
  ModelFile file;
  Example() {
    file.tensors = {{"a.rotated", DType::kF32, {2, 2}, std::as_bytes(std::span(values))},
                    {"b.weight", DType::kF32, {2, 2}, std::as_bytes(std::span(values))}};
    file.index();
  }
};

TEST(RotatedTensors, AreNamedAsPlainOnes) {
  Example e;
  EXPECT_TRUE(has_rotated(e.file, "a"));
  EXPECT_FALSE(has_rotated(e.file, "b"));
  EXPECT_EQ(take_rotated(e.file), RotatedNames{"a.weight"});
  EXPECT_EQ(e.file.get("a.weight").shape, (std::vector<uint64_t>{2, 2}));
  EXPECT_EQ(e.file.find("a.rotated"), nullptr);
  EXPECT_TRUE(take_rotated(e.file).empty());
}

TEST(RotatedTensors, ErrorsNameTheTensor) {
  Example twice;
  twice.file.tensors[1].name = "a.weight";
  twice.file.index();
  const std::string both = message_of(ErrorKind::kFormat, [&] { take_rotated(twice.file); });
  EXPECT_NE(both.find("both 'a.weight' and 'a.rotated'"), both.npos) << both;
  Example flat;
  flat.file.tensors[0].shape = {4};
  const std::string vector = message_of(ErrorKind::kFormat, [&] { take_rotated(flat.file); });
  EXPECT_NE(vector.find("'a.rotated' has shape [4], expected a matrix"), vector.npos) << vector;
  for (const char* name : {"blk.0.ffn_down_t.rotated", "token_embd.rotated"}) {
    Example other;
    other.file.tensors[0].name = name;
    other.file.index();
    const std::string said = message_of(ErrorKind::kFormat, [&] { take_rotated(other.file); });
    EXPECT_NE(said.find(name), said.npos) << said;
  }
}

}  // namespace
}  // namespace hunch
