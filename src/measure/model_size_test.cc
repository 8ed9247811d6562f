#include "measure/model_size.h"

#include <gtest/gtest.h>

#include <fstream>

#include "model/test_steps.h"

namespace hunch {
namespace {

// The fixture by hand: [n_vocab, n_embd] once, since the head is tied to it, positions, the last norm, and the layers.
TEST(ModelSize, CountsWeightsAsProductsSeeThem) {
  const Engine engine = load_engine(golden_fixture("opt_sparse"), {1});
  const ModelConfig& c = engine.config();
  const uint64_t layer = 4 * c.n_embd * c.n_embd + 2 * c.n_embd * c.n_ff;
  const uint64_t vectors = 9 * c.n_embd + c.n_ff;  // two norms with biases, and the matrices' biases
  const std::string path = ::testing::TempDir() + "hunch_model_size";
  std::ofstream(path) << "12345";
  const ModelSize size = size_of(engine, path);
  EXPECT_EQ(size.n_weights, (c.n_vocab + c.n_ctx_train) * c.n_embd + 2 * c.n_embd + c.n_layer * (layer + vectors));
  uint64_t bytes = 0;
  for (const Tensor& t : engine.model->file().tensors) bytes += t.data.size();
  EXPECT_EQ(size.tensor_bytes, bytes);
  EXPECT_EQ(size.file_bytes, 5u);
  EXPECT_NEAR(size.bits_per_weight(), 8 * double(bytes) / double(size.n_weights), 1e-12);
  std::filesystem::remove(path);
  EXPECT_EQ(size_of(engine, path).file_bytes, bytes);
}

}  // namespace
}  // namespace hunch
