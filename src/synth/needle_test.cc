#include "synth/needle.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "io/gguf.h"
#include "kernels/ops.h"
#include "model/transformer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

class Needle : public testing::Test {
 protected:
  fs::path path_ = fs::path(testing::TempDir()) /
                   (std::string("needle_") + testing::UnitTest::GetInstance()->current_test_info()->name() + ".gguf");
  Compute compute_{1};
  ~Needle() override { fs::remove(path_); }

  // The most probable token after the last.
  int32_t next(const NeedleOptions& options, const std::vector<int32_t>& ids) {
    write_needle(path_, options, compute_);
    Model model(open_gguf(path_), WeightOptions{}, compute_);
    KvCache cache(Transformer::kv_shape(model.config()), ids.size());
    Transformer transformer(model, cache, compute_);
    const hunch::Run run{cache.create(), ids.size()};
    const auto last = uint32_t(ids.size() - 1);
    return int32_t(argmax(transformer.run({ids, {&run, 1}, {&last, 1}}).row(0)));
  }
};

TEST_F(Needle, FindsWhatFollowedAtAnyDistance) {
  for (const size_t distance : {1, 2, 3, 10, 100, 700}) {
    std::vector<int32_t> ids = {1, 400, 401};  // the beginning, a word, its successor
    for (size_t i = 1; i < distance; ++i) ids.push_back(int32_t(500 + i * 7 % 400));
    ids.push_back(400);
    EXPECT_EQ(next({.n_vocab = 1024, .n_ctx = 1024}, ids), 401) << distance;
  }
}

TEST_F(Needle, InTypesThatRoundToo) {
  std::vector<int32_t> ids = {1, 450, 460, 470};
  for (int32_t i = 0; i < 60; ++i) ids.push_back(500 + i * 3);
  ids.push_back(450);
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0})
    EXPECT_EQ(next({.n_vocab = 1024, .dtype = type}, ids), 460);
}

TEST_F(Needle, RefusesSizesThatCannotBe) {
  EXPECT_THROW(needle_tensors({.n_vocab = 100}), Error);
  EXPECT_THROW(needle_tensors({.n_ctx = 3}), Error);
}

}  // namespace
}  // namespace hunch
