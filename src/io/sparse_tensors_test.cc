#include "io/sparse_tensors.h"

#include <gtest/gtest.h>

#include "formats/test_sparse.h"
#include "io/test_errors.h"
#include "io/test_sparse_tensors.h"

namespace hunch {
namespace {

// Two experts of [24, 96] under blk.0.x, and something else.
struct Example {
  PrunedMatrix m;
  ModelFile file;
  explicit Example(DType dtype, size_t span = 32) : m(dtype, 48, 96, Zeros::kHalf, span, 3) {
    file.tensors.push_back({"blk.0.x.weight", dtype, {2, 24, 96}, m.blocks});
    file.tensors.push_back({"other.weight", dtype, {48, 96}, m.blocks});
    file.index();
    leave_zeros_out(file, [](const Tensor& t) { return t.name == "blk.0.x.weight"; });
  }
  Tensor& tensor(const char* suffix) {
    for (Tensor& t : file.tensors)
      if (t.name == std::string("blk.0.x") + suffix) return t;
    ADD_FAILURE() << suffix;
    return file.tensors[0];
  }
};

TEST(SparseTensors, AreReadAsTheyWereWritten) {
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kF16}) {
    const Example e(dtype, 96);
    EXPECT_EQ(e.file.tensors.size(), dtype == DType::kF16 ? 3u : 4u);
    ASSERT_TRUE(has_sparse(e.file, "blk.0.x"));
    EXPECT_FALSE(has_sparse(e.file, "other"));
    const SparseTensor t = read_sparse(e.file, "blk.0.x");
    EXPECT_EQ(t.name, "blk.0.x.weight");
    EXPECT_EQ(t.shape, (std::vector<uint64_t>{2, 24, 96}));
    EXPECT_EQ(t.rows.span, dtype == DType::kF16 ? 0u : 96u);
    const SparseRows second = t.part(24, 24);
    std::vector<float> got(96), want(96);
    for (size_t r = 0; r < 24; ++r) {
      decode_sparse_row(second, r, t.rows.values + t.offsets[24 + r], got.data());
      codec(dtype).decode(e.m.dense.row(24 + r), want.data(), 96);
      ASSERT_EQ(got, want) << r;
    }
    EXPECT_EQ(second.values, t.rows.values + t.offsets[24]);
  }
}

TEST(SparseTensors, CountAsTheMatrixThatTheyAre) {
  const Example e(DType::kQ4_0);
  uint64_t n = 0;
  for (const Tensor& t : e.file.tensors) {
    EXPECT_EQ(dtype_of_weights(e.file, t), DType::kQ4_0) << t.name;
    EXPECT_EQ(is_sparse_part(t.name), t.name != "other.weight");
    n += n_weights(t);
  }
  EXPECT_EQ(n, 2u * 48 * 96);
  EXPECT_EQ(masked_name("blk.0.x.sparse_mask"), "blk.0.x");
  EXPECT_EQ(masked_name("blk.0.x.sparse_scales"), std::nullopt);
}

TEST(SparseTensors, BadOnesAreRefusedByName) {
  const auto refused = [](const std::function<void(Example&)>& spoil, const std::string& text) {
    Example e(DType::kQ8_0);
    spoil(e);
    e.file.index();
    const std::string message = message_of(ErrorKind::kFormat, [&] { read_sparse(e.file, "blk.0.x"); });
    EXPECT_NE(message.find(text), message.npos) << message;
  };
  refused([](Example& e) { e.tensor(".sparse_q8_0").data = e.tensor(".sparse_q8_0").data.first(17); },
          "'blk.0.x.sparse_q8_0' has 17 bytes of values, its mask 'blk.0.x.sparse_mask' stands for");
  std::vector<std::byte> full(2 * 24 * 12, std::byte(0xff));
  refused([&](Example& e) { e.tensor(".sparse_mask").data = full; }, "stands for 4608");
  refused([](Example& e) { e.tensor(".sparse_mask").dtype = DType::kF16; },
          "expected i8 [n_out, n_in / 8], n_in a multiple of 32, the file has f16");
  refused([](Example& e) { e.tensor(".sparse_mask").shape = {48, 6, 2}; }, "expected i8 [n_out, n_in / 8]");
  refused([](Example& e) { e.tensor(".sparse_mask").shape = {576}; }, "expected i8");
  refused([](Example& e) { e.tensor(".sparse_q8_0").dtype = DType::kF16; }, "expected i8, the file has f16");
  refused([](Example& e) { e.tensor(".sparse_q8_0").name = "blk.0.x.sparse_q5_0"; }, "and no values: expected one of");
  refused([](Example& e) { e.tensor(".sparse_scales").shape = {48, 2}; }, "expected f16 [48, n], n spans");
  refused([](Example& e) { e.tensor(".sparse_scales").shape = {24, 3}; }, "expected f16 [48, n], n spans");
  refused([](Example& e) { e.tensor(".sparse_scales").dtype = DType::kI16; }, "the file has i16");
  refused([](Example& e) { e.file.tensors.push_back({"blk.0.x.weight", DType::kF32, {1}, {}}); }, "has both");
  refused([](Example& e) { e.file.tensors.push_back({"blk.0.x.sparse_f16", DType::kF16, {1}, {}}); }, "has both");
  Example e(DType::kQ8_0);
  e.tensor(".sparse_scales").name = "elsewhere";
  e.file.index();
  const std::string message = message_of(ErrorKind::kNotFound, [&] { read_sparse(e.file, "blk.0.x"); });
  EXPECT_NE(message.find("blk.0.x.sparse_scales"), message.npos) << message;
}

}  // namespace
}  // namespace hunch
