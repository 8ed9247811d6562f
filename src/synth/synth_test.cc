#include "synth/synth.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "io/gguf.h"
#include "model/transformer.h"
#include "synth/noise.h"
#include "synth/outliers.h"
#include "synth/vocab.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

SynthOptions tiny(const char* shape) {
  SynthOptions o;
  o.shape = synth_shape(shape);
  o.shape.n_layer = 3;
  o.shape.n_embd = 128;
  o.shape.n_ff = 256;
  o.shape.n_head = 8;
  o.shape.n_kv_head = o.shape.arch == "opt" ? 8 : 4;
  o.shape.n_vocab = 1000;
  o.shape.n_ctx = 128;
  if (o.shape.is_hybrid()) o.shape.hybrid = {"ME*", 4, 2, 256, 4, 32, 2, 16};
  return o;
}

class Synth : public testing::Test {
 protected:
  fs::path path_ = fs::path(testing::TempDir()) /
                   (std::string("synth_") + testing::UnitTest::GetInstance()->current_test_info()->name() + ".gguf");
  Compute compute_{2};
  ~Synth() override { fs::remove(path_); }

  std::string bytes(const SynthOptions& options, size_t n_threads = 2) {
    Compute compute(n_threads);
    write_synth(path_, options, compute);
    return read_file(path_);
  }
  std::unique_ptr<Model> model(const SynthOptions& options) {
    write_synth(path_, options, compute_);
    return std::make_unique<Model>(open_gguf(path_), WeightOptions{}, compute_);
  }
};

TEST_F(Synth, EveryShapeAndTypeLoadsAndGivesFiniteLogits) {
  for (const char* shape : {"opt-125m", "llama-1.1b", "reglu-3b", "mixtral-8x7b", "nemotron-h-moe-1b"})
    for (const Format& format : formats()) {
      if (!format.writes()) continue;
      const DType dtype = format.dtype;
      SynthOptions o = tiny(shape);
      o.shape.n_embd = 256;
      if (!o.shape.is_hybrid()) o.shape.n_layer = 1;
      o.dtype = dtype;
      const std::unique_ptr<Model> m = model(o);
      EXPECT_EQ(m->config().n_layer, o.shape.n_layer);
      EXPECT_EQ(m->main_dtype(), dtype);
      KvCache cache(Transformer::kv_shape(m->config()), 64);
      Transformer transformer(*m, cache, compute_);
      const std::vector<int32_t> ids = {1, 400, 500, 600};
      const hunch::Run run{cache.create(), ids.size()};
      const uint32_t last = 3;
      const MatView<const float> logits = transformer.run({ids, {&run, 1}, {&last, 1}});
      double sum = 0;
      for (float v : logits.row(0)) {
        ASSERT_TRUE(std::isfinite(v)) << shape << " " << name_of(dtype);
        sum += double(v) * v;
      }
      EXPECT_NEAR(std::sqrt(sum / double(logits.cols)), 2.0, 0.5) << shape << " " << name_of(dtype);
    }
}

// What is planted in experts is what exact mode finds there, in routed and shared ones.
TEST_F(Synth, ExpertsHaveThePlantedZeros) {
  SynthOptions o = tiny("nemotron-h-moe-1b");
  o.dtype = DType::kF32;
  o.shape.n_embd = 256;
  o.planting.density = {0.1, 0.1, 0.1};
  o.planting.n_contexts = 16;
  o.planting.next_token_margin = 0;
  const std::unique_ptr<Model> m = model(o);
  struct Active : Observer {
    uint64_t n_active = 0, n_all = 0;
    void on_mlp(const MlpPlace&, MatView<const float>, MatView<const float> act) override {
      n_active += count_nonzero(act);
      n_all += act.rows * act.cols;
    }
  } active;
  KvCache cache(Transformer::kv_shape(m->config()), 256);
  Transformer transformer(*m, cache, compute_);
  transformer.observer = &active;
  std::vector<int32_t> ids;
  for (int32_t id = 300; id < 500; ++id) ids.push_back(id);
  const hunch::Run run{cache.create(), ids.size()};
  const uint32_t last = 0;
  transformer.run({ids, {&run, 1}, {&last, 1}});
  EXPECT_NEAR(double(active.n_active) / double(active.n_all), 0.1, 0.03);
}

TEST_F(Synth, SameSeedSameFileOnAnyNumberOfThreads) {
  SynthOptions o = tiny("reglu-3b");
  const std::string one = bytes(o, 1), four = bytes(o, 4);
  EXPECT_EQ(one, four);
  o.seed = 2;
  const std::string other = bytes(o, 1);
  ASSERT_EQ(one.size(), other.size());
  EXPECT_NE(one, other);
}

TEST_F(Synth, ReluModelsAreNeuronMajorUnlessRowsAreAsked) {
  SynthOptions o = tiny("opt-125m");
  o.dtype = DType::kQ4_0;
  EXPECT_EQ(model(o)->weights().down_layout, DownLayout::kTransposed);
  o.down = DownFile::kRows;
  EXPECT_EQ(model(o)->weights().down_layout, DownLayout::kKept);
  o = tiny("llama-1.1b");
  EXPECT_EQ(model(o)->weights().down_layout, DownLayout::kNone);
}

// What attention and MLPs read, at most.
struct Largest : Observer {
  std::vector<float> attention, mlp;
  static void add(std::vector<float>& most, MatView<const float> X) {
    most.resize(X.cols);
    for (size_t t = 0; t < X.rows; ++t)
      for (size_t c = 0; c < X.cols; ++c) most[c] = std::max(most[c], std::abs(X.row(t)[c]));
  }
  void on_attention_input(size_t, MatView<const float> x) override { add(attention, x); }
  void on_mlp(const MlpPlace&, MatView<const float> in, MatView<const float>) override { add(mlp, in); }
};

TEST_F(Synth, OutliersAreFewLargeInputsOfTheSameFunction) {
  for (const char* shape : {"opt-125m", "llama-1.1b"}) {
    SCOPED_TRACE(shape);
    SynthOptions o = tiny(shape);
    o.dtype = DType::kF32;
    std::vector<float> logits[2];
    Largest seen[2];
    for (const size_t i : {0, 1}) {
      o.n_outliers = i * 4;
      const std::unique_ptr<Model> m = model(o);
      KvCache cache(Transformer::kv_shape(m->config()), 64);
      Transformer transformer(*m, cache, compute_);
      transformer.observer = &seen[i];
      std::vector<int32_t> ids;
      for (int32_t id = 300; id < 340; ++id) ids.push_back(id);
      const hunch::Run run{cache.create(), ids.size()};
      const uint32_t last = 39;
      const MatView<const float> out = transformer.run({ids, {&run, 1}, {&last, 1}});
      logits[i].assign(out.data, out.data + out.cols);
    }
    for (size_t i = 0; i < logits[0].size(); ++i) ASSERT_NEAR(logits[0][i], logits[1][i], 2e-3);
    o.n_outliers = 4;
    std::vector<double> factor(o.shape.n_embd, 1);
    for (const OutlierChannel& c : outlier_channels(o)) factor[c.channel] = c.factor;
    EXPECT_EQ(std::ranges::count(factor, 1.0), 124);
    EXPECT_DOUBLE_EQ(std::ranges::max(factor), 100);
    for (size_t c = 0; c < factor.size(); ++c) {
      EXPECT_NEAR(seen[1].attention[c] / seen[0].attention[c], factor[c], 0.01 * factor[c]);
      EXPECT_NEAR(seen[1].mlp[c] / seen[0].mlp[c], factor[c], 0.01 * factor[c]);
    }
  }
}

TEST_F(Synth, RefusesOutliersThatItDoesNotPlant) {
  SynthOptions o = tiny("llama-1.1b");
  o.n_outliers = 17;
  EXPECT_THROW(write_synth(path_, o, compute_), Error);
  o = tiny("nemotron-h-moe-1b");
  o.n_outliers = 2;
  EXPECT_THROW(write_synth(path_, o, compute_), Error);
}

TEST_F(Synth, RefusesShapesThatContradictThemselves) {
  const auto refuses = [&](auto change, const char* what) {
    SynthOptions o = tiny("llama-1.1b");
    change(o.shape);
    try {
      write_synth(path_, o, compute_);
      ADD_FAILURE() << what;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage) << what;
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
    EXPECT_FALSE(fs::exists(path_));
  };
  refuses([](SynthShape& s) { s.n_head = 7; }, "n_head");
  refuses([](SynthShape& s) { s.n_kv_head = 3; }, "n_kv_head");
  refuses([](SynthShape& s) { s.n_layer = 0; }, "n_layer");
  refuses([](SynthShape& s) { s.n_vocab = 100; }, "n_vocab");
  refuses([](SynthShape& s) { s.n_vocab = size_t{1} << 40; }, "n_vocab");
  EXPECT_THROW(synth_shape("gpt-5"), Error);
}

TEST(SynthVocab, EveryWordIsOneToken) {
  const size_t n_vocab = kFirstSynthWord + 64 + 64 * 64 + 1000;
  const Tokenizer tokenizer(synth_tokenizer(n_vocab));
  ASSERT_EQ(tokenizer.n_vocab(), n_vocab);
  for (size_t id = kFirstSynthWord; id < n_vocab; id += id < 5000 ? 7 : 1) {
    const std::string text = synth_word(id) + " " + synth_word(kFirstSynthWord + 5);
    EXPECT_EQ(tokenizer.encode(text), (std::vector<int32_t>{1, int32_t(id), int32_t(kFirstSynthWord + 5)})) << text;
  }
}

TEST(SynthNoise, HasTheAskedMomentsAndNoEqualRows) {
  std::vector<float> a(100001), b(100001);
  SynthNoise(1, "x", 0).normal(2.0f, a);
  SynthNoise(1, "x", 1).normal(2.0f, b);
  double mean = 0, square = 0, cross = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    mean += a[i];
    square += double(a[i]) * a[i];
    cross += double(a[i]) * b[i];
  }
  const double n = double(a.size());
  EXPECT_NEAR(mean / n, 0, 0.03);
  EXPECT_NEAR(square / n, 4, 0.06);
  EXPECT_NEAR(cross / n, 0, 0.06);
  EXPECT_NE(a.back(), 0);
}

}  // namespace
}  // namespace hunch
