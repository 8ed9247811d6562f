#include "engine/cost_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"

namespace hunch {
namespace {

const std::filesystem::path kPath = std::filesystem::path(HUNCH_BINARY_DIR) / "cost_file_test.json";

TEST(CostFile, WhatIsWrittenIsPinned) {
  CostTable written, read;
  const RowCosts costs{1e-6, 2e-9, 3e-9, 4e-6, 5e-9, 6e-5};
  written.pin({RowProduct::kAdd, DType::kF16, 96, 32, 4, costs, 1});
  written.pin({RowProduct::kDot, DType::kF32, 96, 32, 2, {}, 1});
  write_costs(written, kPath);
  pin_costs(read, kPath);
  const auto all = read.measured();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].product, RowProduct::kDot);
  EXPECT_EQ(all[1].dtype, DType::kF16);
  EXPECT_EQ(all[1].n_tokens, 4u);
  EXPECT_EQ(all[1].costs.own_row, 2e-9);
  EXPECT_EQ(all[1].costs.union_call, 4e-6);
  EXPECT_EQ(all[1].costs.all, 6e-5);
}

TEST(CostFile, AnythingElseIsRefusedByName) {
  for (const char* text : {"", "[]", R"({"row_costs": 1})", R"({"row_costs": [{"product": "dot"}]})",
                           R"({"row_costs": [{"product": "mul", "dtype": "F32"}]})",
                           R"({"row_costs": [{"product": "dot", "dtype": "F99"}]})"}) {
    std::ofstream(kPath) << text;
    CostTable costs;
    try {
      pin_costs(costs, kPath);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kFormat) << text;
      EXPECT_NE(std::string(e.what()).find("cost_file_test.json"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace hunch
