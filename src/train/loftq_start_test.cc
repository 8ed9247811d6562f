#include "train/loftq_start.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "io/test_bytes.h"
#include "kernels/ops.h"
#include "train/save.h"
#include "train/test_networks.h"

namespace hunch {
namespace {

// W of the original less the model's with its adapter, by projection: the sum of squares.
double squared_difference(Network& network, const Model& original) {
  double sum = 0;
  std::map<LinearId, const Linear*> theirs;
  original.weights().for_each_linear([&](const Linear& linear) { theirs[linear.id] = &linear; });
  for (const auto& block : network.blocks())
    block->for_each_projection([&](Projection& p) {
      const size_t rows = p.base().n_out, cols = p.base().n_in;
      std::vector<float> want(rows * cols), got(want);
      theirs.at(p.base().id)->decode(network.compute(), {want.data(), rows, cols});
      p.base().decode(network.compute(), {got.data(), rows, cols});
      const Projection::LowRank& own = *p.low_rank();
      for (size_t r = 0; r < rows; ++r)
        for (size_t i = 0; i < cols; ++i) {
          double w = got[r * cols + i];
          for (size_t k = 0; k < own.options.rank; ++k)
            w += own.options.scale() * double(own.B->value.row(r)[k]) * own.A->value.row(k)[i];
          sum += (w - want[r * cols + i]) * (w - want[r * cols + i]);
        }
    });
  return sum;
}

// A model whose blocks' matrices differ from the fixture's by some of this rank.
void write_moved(const std::filesystem::path& path, TestModel& m, size_t rank) {
  Network network(m.model, m.compute);
  network.train_all();
  for (const auto& block : network.blocks())
    block->for_each_projection([&](Projection& p) {
      const MatView<float> W = p.weights()->value;
      RandomValues random(5, p.weights()->name);
      for (size_t k = 0; k < rank; ++k) {
        std::vector<float> u(W.rows), v(W.cols);
        for (float& x : u) x = 0.05f * random.normal();
        for (float& x : v) x = random.normal();
        for (size_t r = 0; r < W.rows; ++r) axpy(u[r], v, W.row(r));
      }
    });
  write_trained_model(path, network);
}

TEST(LoftqStart, FindsWhatHasItsRank) {
  TestModel base("llama_mha");
  TempDir dir("loftq");
  write_moved(dir.path / "moved.gguf", base, 3);
  TestModel original(dir.path / "moved.gguf");
  for (const LowRankKind kind : {LowRankKind::kLora, LowRankKind::kRsLora, LowRankKind::kDora}) {
    Network network(base.model, base.compute);
    network.add_low_rank({kind, 3, 7}, kAllRoles, 1);
    const double before = squared_difference(network, original.model);
    begin_with_difference(network, original.model, 1);
    EXPECT_LT(squared_difference(network, original.model), 1e-6 * before);
    // The model with its adapters now is the original.
    const TokenBatch batch = random_batch(base.model, {2, 12});
    Network theirs(original.model, original.compute);
    EXPECT_LE(worst_difference(logits_of(network, batch), logits_of(theirs, batch)), 2e-3f);
  }
}

TEST(LoftqStart, OfLessRankTakesTheLargestDirections) {
  TestModel base("llama_mha");
  TempDir dir("loftq");
  write_moved(dir.path / "moved.gguf", base, 6);
  TestModel original(dir.path / "moved.gguf");
  double last = INFINITY;
  for (const size_t rank : {1, 2, 4}) {
    Network network(base.model, base.compute);
    network.add_low_rank({LowRankKind::kLora, rank, 2}, kAllRoles, 1);
    const double before = squared_difference(network, original.model);
    begin_with_difference(network, original.model, 1);
    const double left = squared_difference(network, original.model) / before;
    EXPECT_LT(left, 1 - double(rank) / 6 + 0.02) << "of six directions of random size the largest have their share";
    EXPECT_LT(left, last);
    last = left;
  }
}

TEST(LoftqStart, RefusesAnotherModelAndNoAdapter) {
  TestModel base("llama_mha"), other("opt_sparse");
  Network network(base.model, base.compute), plain(base.model, base.compute);
  network.add_low_rank({LowRankKind::kLora, 2, 2}, kAllRoles, 1);
  EXPECT_THROW(begin_with_difference(network, other.model, 1), Error);
  EXPECT_THROW(begin_with_difference(plain, base.model, 1), Error);
}

}  // namespace
}  // namespace hunch
