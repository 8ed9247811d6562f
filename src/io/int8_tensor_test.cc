#include "io/int8_tensor.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace hunch {
namespace {

// Two experts of [2, 3], or one matrix of [4, 3].
struct Example {
  std::vector<int8_t> codes = {1, 2, 3, -4, 5, 127, 7, -128, 9, 10, 11, 12};
  std::vector<float> scale = {1, 2, 0.5f, 4}, input = {0.25f};
  std::vector<uint32_t> outliers = {0, 2};
  std::vector<uint16_t> apart = {0x3c00, 0x4000, 0, 0, 0xbc00, 0, 0x3800, 0};  // 1, 2; 0, 0; -1, 0; 0.5, 0

  template <class T>
  static Tensor tensor(const char* name, DType dtype, std::vector<uint64_t> shape, const std::vector<T>& values) {
    return {name, dtype, std::move(shape), std::as_bytes(std::span(values))};
  }
  ModelFile file(bool experts, bool with_input = false, bool with_outliers = false) const {
    ModelFile f;
    f.tensors.push_back(
        tensor("a.weight", DType::kI8, experts ? std::vector<uint64_t>{2, 2, 3} : std::vector<uint64_t>{4, 3}, codes));
    f.tensors.push_back(tensor("a.int8_scale", DType::kF32, {scale.size()}, scale));
    if (with_input) f.tensors.push_back(tensor("a.int8_input", DType::kF32, {input.size()}, input));
    if (with_outliers) {
      f.tensors.push_back(tensor("a.int8_outliers", DType::kI32, {outliers.size()}, outliers));
      f.tensors.push_back(tensor("a.int8_outlier_weight", DType::kF16, {4, apart.size() / 4}, apart));
    }
    f.index();
    return f;
  }
};

std::vector<float> row(const Int8Tensor& t, size_t r) {
  std::vector<float> out(3);
  t.decode(r, out);
  return out;
}

TEST(Int8Tensor, SaysItsNumbers) {
  Example e;
  const ModelFile rows = e.file(false, true);
  const Int8Tensor a(rows, rows.tensors[0]);
  EXPECT_EQ(row(a, 0), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(row(a, 2), (std::vector<float>{3.5f, -64, 4.5f}));
  EXPECT_EQ(a.input_scale(3), 0.25f);
  e.scale = {3};
  const ModelFile whole = e.file(false);
  const Int8Tensor b(whole, whole.tensors[0]);
  EXPECT_EQ(row(b, 1), (std::vector<float>{-12, 15, 381}));
  EXPECT_EQ(b.input_scale(0), 0);
  e.scale = {3, 10}, e.input = {0.5f, 0.75f};
  const ModelFile experts = e.file(true, true);
  const Int8Tensor c(experts, experts.tensors[0]);
  EXPECT_EQ(row(c, 1), (std::vector<float>{-12, 15, 381}));
  EXPECT_EQ(row(c, 2), (std::vector<float>{70, -1280, 90}));
  EXPECT_EQ(c.input_scale(1), 0.5f);
  EXPECT_EQ(c.input_scale(2), 0.75f);
}

TEST(Int8Tensor, AddsWhatIsKeptApart) {
  Example e;
  e.codes[0] = e.codes[2] = e.codes[6] = e.codes[8] = 0;
  const ModelFile file = e.file(false, false, true);
  const Int8Tensor t(file, file.tensors[0]);
  EXPECT_EQ(row(t, 0), (std::vector<float>{1, 2, 2}));
  EXPECT_EQ(row(t, 2), (std::vector<float>{-1, -64, 0}));
  EXPECT_EQ(t.outliers(), e.outliers);
}

TEST(Int8Tensor, IsToldFromOtherIntegers) {
  Example e;
  ModelFile file = e.file(false, true, true);
  EXPECT_TRUE(is_int8(file, file.tensors[0]));
  EXPECT_FALSE(is_beside_int8(file, file.tensors[0]));
  for (size_t i = 1; i < file.tensors.size(); ++i) EXPECT_TRUE(is_beside_int8(file, file.tensors[i])) << i;
  file.tensors.erase(file.tensors.begin() + 1);
  file.index();
  EXPECT_FALSE(is_int8(file, file.tensors[0])) << "without scales";
  EXPECT_FALSE(is_beside_int8(file, file.tensors[1]));
}

TEST(Int8Tensor, RefusesWhatDoesNotFit) {
  const auto refusal = [](auto change, bool experts = false) -> std::string {
    Example e;
    ModelFile unused;
    change(e, unused);
    ModelFile file = e.file(experts, true, !experts);
    for (const Tensor& t : unused.tensors)
      for (Tensor& own : file.tensors)
        if (own.name == t.name) own = t;
    file.index();
    try {
      Int8Tensor(file, file.tensors[0]);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      return error.what();
    }
    return "taken";
  };
  const auto expect = [](const std::string& said, const char* what) {
    EXPECT_NE(said.find(what), std::string::npos) << said;
  };
  expect(refusal([](Example& e, ModelFile&) { e.scale = {1, 2, 3}; }), "4 rows or 1 matrices, found 3");
  expect(refusal([](Example& e, ModelFile&) { e.scale = {}; }), "found 0");
  expect(refusal([](Example& e, ModelFile&) { e.scale[1] = -1; }), "expected scales, found -1");
  expect(refusal([](Example& e, ModelFile&) { e.scale[1] = NAN; }), "expected scales, found nan");
  expect(refusal([](Example& e, ModelFile&) { e.input = {1, 2}; }), "expected 1 scales of inputs, found 2");
  expect(refusal([](Example& e, ModelFile&) { e.input = {1}; }, true), "expected 2 scales of inputs, found 1");
  expect(refusal([](Example& e, ModelFile&) { e.outliers = {2, 2}; }), "ascending inputs below 3, found 2");
  expect(refusal([](Example& e, ModelFile&) { e.outliers = {0, 3}; }), "ascending inputs below 3, found 3");
  expect(refusal([](Example& e, ModelFile&) { e.outliers = {0}; }), "[4, 1], found [4, 2]");
  expect(refusal([](Example&, ModelFile& f) {
           f.tensors.push_back({"a.weight", DType::kI8, {2, 0, 3}, {}});
         }),
         "'a.weight' is empty");
  expect(refusal([](Example& e, ModelFile& f) {
           f.tensors.push_back(Example::tensor("a.int8_scale", DType::kF16, {4}, e.apart));
         }),
         "expected f32, found f16");
}

}  // namespace
}  // namespace hunch
