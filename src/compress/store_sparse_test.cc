// Models with zeros, written without them, computed with and turned back.
#include "compress/store_sparse.h"

#include <gtest/gtest.h>

#include <cstring>

#include "compress/convert.h"
#include "compress/test_models.h"
#include "io/gguf.h"
#include "io/sparse_tensors.h"
#include "io/test_errors.h"
#include "linear/sparse.h"
#include "model/open_model.h"

namespace hunch {
namespace {

// The fixture in a type, with two of each four weights of its matrices, or a share of all, zero.
ModelFile pruned_model(const char* fixture, DType dtype, bool two_of_four) {
  ModelFile file = open_model(golden_fixture(fixture)).file;
  for (Tensor& t : file.tensors) {
    if (t.shape.size() < 2 || !t.name.starts_with("blk.") || t.cols() % 32 != 0 ||
        t.name.find("gate_inp") != t.name.npos)
      continue;
    std::vector<float> values(t.n_elems());
    codec(t.dtype).decode(t.data.data(), values.data(), values.size());
    for (size_t i = 0; i < values.size(); ++i)
      if (two_of_four ? (i + i / 4) % 4 < 2 : i % 5 < 3) values[i] = 0;
    const auto blocks = std::make_shared<std::vector<std::byte>>(t.rows() * row_bytes(dtype, t.cols()));
    codec(dtype).encode(values.data(), blocks->data(), values.size());
    t.dtype = dtype;
    t.data = *blocks;
    file.owners.push_back(blocks);
  }
  file.index();
  return file;
}

struct Case {
  const char* fixture;
  DType dtype;
  bool two_of_four;
};
class StoreSparse : public ::testing::TestWithParam<Case> {};

TEST_P(StoreSparse, LeavesTheZerosOutAndNothingElse) {
  const auto [fixture, dtype, two_of_four] = GetParam();
  Compute compute(2);
  const TempFile dense, sparse, back;
  write_gguf(dense.path, pruned_model(fixture, dtype, two_of_four));
  const ModelFile before = open_gguf(dense.path);
  const SparseReport report = store_sparse(before, sparse.path, compute);
  EXPECT_GE(report.matrices.size(), 6u);
  EXPECT_LT(report.bytes, report.dense_bytes * 9 / 10);
  EXPECT_NEAR(double(report.n_zeros) / double(report.n_weights), two_of_four ? 0.5 : 0.6, 0.08);
  const ModelFile file = open_gguf(sparse.path);
  for (const auto& [name, matrix] : report.matrices) {
    EXPECT_EQ(file.find(name), nullptr) << name;
    const SparseTensor t = read_sparse(file, name.substr(0, name.size() - 7));
    EXPECT_EQ(t.shape, before.get(name).shape);
    EXPECT_EQ(t.bytes(), matrix.bytes);
  }
  // What it computes. Prompts take the same kernels as the dense blocks do where these lie in strips; else sums have
  // another order.
  const Engine with = engine_of(dense.path), without = engine_of(sparse.path);
  size_t n_sparse = 0;
  for (const Linear* linear : matrices(without)) n_sparse += dynamic_cast<const Sparse*>(linear) != nullptr;
  EXPECT_GE(n_sparse, report.matrices.size());
  EXPECT_EQ(without.model->weights().n_params, with.model->weights().n_params);
  if (!is_plain(dtype)) {  // of f16 the embedding's f32 is more by now
    EXPECT_EQ(without.model->main_dtype(), with.model->main_dtype());
  }
  EXPECT_LT(without.model->bytes_per_token(), with.model->bytes_per_token());
  const std::vector<int32_t> ids = random_ids(with, 40);
  const std::vector<float> want = logits_of(with, ids), got = logits_of(without, ids);
  // Of quantised weights some products round X to int8 and others to bf16, by how many tokens an expert has.
  EXPECT_LT(distance(want, got), is_plain(dtype) ? 1e-4 : 0.05);

  // And back: its own type gives the very bytes, f32 the numbers.
  convert_model(file, back.path, {dtype, DownFile::kRows}, compute);
  const ModelFile again = open_gguf(back.path);
  for (const auto& [name, matrix] : report.matrices) {
    const Tensor &a = before.get(name), &b = again.get(name);
    ASSERT_EQ(a.dtype, b.dtype) << name;
    ASSERT_TRUE(std::ranges::equal(a.data, b.data)) << name;
  }
  convert_model(file, back.path, {DType::kF32, DownFile::kRows}, compute);
  const ModelFile floats = open_gguf(back.path);
  for (const auto& [name, matrix] : report.matrices) {
    std::vector<float> values(before.get(name).n_elems());
    codec(dtype).decode(before.get(name).data.data(), values.data(), values.size());
    std::vector<float> got_back(values.size());
    std::memcpy(got_back.data(), floats.get(name).data.data(), floats.get(name).data.size());
    ASSERT_EQ(values, got_back) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, StoreSparse,
                         ::testing::Values(Case{"llama_mha", DType::kQ8_0, true}, Case{"llama_mha", DType::kF16, false},
                                           Case{"llama_mha", DType::kQ4_0, true},
                                           Case{"opt_sparse", DType::kQ8_0, false},
                                           Case{"qwen2_moe", DType::kQ8_0, true}),
                         [](const auto& i) {
                           return std::string(i.param.fixture) + "_" + name_of(i.param.dtype) +
                                  (i.param.two_of_four ? "_two_of_four" : "_share");
                         });

TEST(StoreSparse, WritesNothingWhereThereIsNothingToLeaveOut) {
  Compute compute(1);
  const TempFile sparse;
  const SparseReport report = store_sparse(open_model(golden_fixture("llama_mha")).file, sparse.path, compute);
  EXPECT_TRUE(report.matrices.empty());
  EXPECT_EQ(describe(report), "");
  EXPECT_FALSE(std::filesystem::exists(sparse.path));
}

// Another quantised type would round twice, as of any blocks; types that stay leave everything as it is.
TEST(StoreSparse, ConvertsAsItsBlocksWould) {
  Compute compute(1);
  const TempFile dense, sparse, out;
  write_gguf(dense.path, pruned_model("llama_mha", DType::kQ8_0, true));
  store_sparse(open_gguf(dense.path), sparse.path, compute);
  const ModelFile file = open_gguf(sparse.path);
  const std::string message = message_of(ErrorKind::kUnsupported, [&] {
    convert_model(file, out.path, {DType::kQ4_0, DownFile::kRows}, compute);
  });
  EXPECT_NE(message.find("already q8_0"), message.npos) << message;
  ConvertOptions kept{DType::kF16, DownFile::kRows};
  kept.keep_blocks = true;
  convert_model(file, out.path, kept, compute);
  EXPECT_TRUE(has_sparse(open_gguf(out.path), "blk.0.attn_output"));
}

}  // namespace
}  // namespace hunch
