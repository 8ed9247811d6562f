#include "io/ordered_tensors.h"

#include <gtest/gtest.h>

#include "io/test_errors.h"

namespace hunch {
namespace {

struct Example {
  std::vector<float> values = {1, 2, 3, 4, 5, 6};
  std::vector<uint32_t> order = {2, 0, 1};
  ModelFile file;
  Example() {
    file.tensors = {{"a.ordered", DType::kF32, {2, 3}, std::as_bytes(std::span(values))},
                    {"a.input_order", DType::kI32, {1, 3}, std::as_bytes(std::span(order))},
                    {"b.weight", DType::kF32, {2, 3}, std::as_bytes(std::span(values))}};
    file.index();
  }
};

TEST(OrderedTensors, AreNamedAsPlainOnes) {
  Example e;
  EXPECT_TRUE(has_ordered(e.file, "a"));
  EXPECT_FALSE(has_ordered(e.file, "b"));
  const InputOrders orders = take_input_orders(e.file);
  EXPECT_EQ(orders, (InputOrders{{"a.weight", e.order}}));
  ASSERT_EQ(e.file.tensors.size(), 2u);
  EXPECT_EQ(e.file.get("a.weight").shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(e.file.find("a.input_order"), nullptr);
}

TEST(OrderedTensors, RowsComeBackInTheModelsOrder) {
  const Example e;
  std::vector<float> row = {1, 2, 3}, scratch;
  put_in_place(e.order, row, scratch);
  EXPECT_EQ(row, (std::vector<float>{2, 3, 1}));
}

TEST(OrderedTensors, ErrorsNameTheTensor) {
  const auto error = [](const auto& change, ErrorKind kind = ErrorKind::kFormat) {
    Example e;
    change(e);
    e.file.index();
    return message_of(kind, [&] { take_input_orders(e.file); });
  };
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), text.npos) << text << "\nhas no: " << part;
  };
  has(error([](Example& e) { e.order[1] = 2; }), "2 is there twice");
  has(error([](Example& e) { e.order[1] = 3; }), "'a.input_order' is no order of 3 inputs");
  has(error([](Example& e) { e.file.tensors[1].dtype = DType::kF32; }), "expected i32 [1, 3]");
  has(error([](Example& e) { e.file.tensors[1].shape = {1, 2}, e.file.tensors[1].data = {}; }), "i32 [1, 2]");
  has(error([](Example& e) { e.file.tensors.erase(e.file.tensors.begin() + 1); }, ErrorKind::kNotFound),
      "a.input_order");
  has(error([](Example& e) { e.file.tensors[2].name = "a.weight"; }), "both 'a.weight' and 'a.ordered'");
  has(error([](Example& e) { e.file.tensors[0].shape = {6}; }), "expected a matrix");
}

}  // namespace
}  // namespace hunch
