#include "model/sidecar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "kernels/sign_bits.h"
#include "model/families.h"
#include "model/fingerprint.h"
#include "select/hot_set.h"
#include "select/linear_predictor.h"
#include "select/low_rank_predictor.h"
#include "select/prompt_selector.h"
#include "select/selectors.h"
#include "select/sign_predictor.h"
#include "select/threshold.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

class SidecarTest : public ::testing::Test {
 protected:
  SidecarTest() {
    dir_ = fs::temp_directory_path() / ("hunch-sidecar-" + std::to_string(::getpid()));
    fs::create_directories(dir_);
    for (size_t i = 0; i < in_.size(); ++i) in_[i] = std::sin(float(i));
    for (size_t i = 0; i < out_.size(); ++i) out_[i] = std::cos(float(i));
    q_out_.resize(row_bytes(DType::kQ8_0, out_.size()));
    codec(DType::kQ8_0).encode(out_.data(), q_out_.data(), out_.size());
    sidecar_.base = {"a1", "b2", "opt", "tiny", 3, 32, 48};
    sidecar_.layers.resize(3);
    sidecar_.layers[0] = {
        std::make_shared<LowRankPredictor>(
            LowRankWeights{weight_view({in_.data(), 64, 32}),
                           {DType::kQ8_0, q_out_.data(), 48, 64, row_bytes(DType::kQ8_0, 64)},
                           std::vector<float>(48, 0.25f),
                           true}),
        Look::kAttention,
        {{-std::numeric_limits<float>::infinity(), 1, 0, 1}, {0.5f, 0.4f, 0.1f, 0.9f}, {1, 0.2f, 0.5f, 0.6f}},
        1};
    std::vector<float> hot(48);
    for (size_t i = 0; i < 48; ++i) hot[i] = float(i);
    sidecar_.layers[2] = {std::make_shared<HotSetPredictor>(hot, 32),
                          Look::kHere,
                          {{-1, 1, 0, 1}, {23, 0.5f, 0.01f, 0.9f}, {40, 0.1f, 9, 0.3f}},
                          2};
    sidecar_.layers[1].heads = {
        std::make_shared<LinearPredictor>(weight_view({in_.data(), 4, 32}), std::vector<float>{1, 2, 3, 4}),
        Look::kPreviousAttention,
        {{-1, 1, 0, 1}, {2, 0.5f, 0.01f, 0.9f}},
        1};
    sidecar_.layers[2].heads = {std::make_shared<HotSetPredictor>(std::vector<float>{1, 2, 3, 4}, 32),
                                Look::kHere,
                                {{-1, 1, 0, 1}, {3, 0.25f, 0.5f, 0.3f}},
                                0};
    sidecar_.quality = {0.01, 20, 20.1, 0.003, 0.98, 1000};
  }
  ~SidecarTest() override { fs::remove_all(dir_); }

  fs::path write() {
    write_sidecar(dir_ / "m.gguf.hunch", sidecar_);
    return dir_ / "m.gguf.hunch";
  }
  // The message of the error that this change of the written file leads to.
  std::string refused(const std::function<void(ModelFile&)>& change) {
    ModelFile file = open_gguf(write());
    change(file);
    file.index();
    try {
      parse_sidecar(std::move(file));
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  }

  // The sidecar's model.
  static ModelConfig config() {
    ModelConfig c;
    c.n_layer = 3, c.n_embd = c.n_embd_word = 32, c.n_ff = 48, c.n_head = c.n_kv_head = 4, c.n_vocab = 100;
    c.n_ctx_train = 64;
    lay_out(c);
    return c;
  }
  // A plan's point chooses what the predictor scores above the threshold.
  static void expect_predicts(const Plan& plan, size_t layer, Point point, const Predictor& predictor, float threshold,
                              Look look) {
    const PlanEntry& entry = plan.at(layer, point);
    ASSERT_TRUE(entry.selector) << "layer " << layer;
    EXPECT_EQ(entry.selector->kind(), "predicted");
    EXPECT_EQ(entry.look, look);
    Compute compute(1);
    std::vector<float> x(32), scores(predictor.n_out());
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i) * 0.7f);
    predictor.score(compute, {x.data(), 1, 32}, {scores.data(), 1, scores.size()});
    Rows want, got;
    select_above(scores, threshold, want);
    entry.selector->choose(compute, {{x.data(), 1, 32}}, {&got, 1});
    EXPECT_EQ(got.size(), want.size()) << "layer " << layer;
    EXPECT_TRUE(got.is_all() || std::ranges::equal(got.ids(), want.ids()));
  }
  void expect_predicts(const Plan& plan, size_t layer, float threshold) {
    expect_predicts(plan, layer, Point::kNeurons, *sidecar_.layers[layer].neurons, threshold,
                    sidecar_.layers[layer].input);
  }
  static const Selector* at(const Plan& plan, size_t layer, Point point, InputPart part = InputPart::kAttention) {
    return plan.at(layer, point, part).selector.get();
  }

  fs::path dir_;
  std::vector<float> in_ = std::vector<float>(64 * 32), out_ = std::vector<float>(48 * 64);
  std::vector<std::byte> q_out_;
  Sidecar sidecar_;
};

TEST_F(SidecarTest, ComesBackAsItWasWritten) {
  const Sidecar read = open_sidecar(write());
  EXPECT_EQ(read.base.sha256, "a1");
  EXPECT_EQ(read.base.name, "tiny");
  EXPECT_EQ(read.quality.n_tokens, 1000u);
  EXPECT_EQ(read.quality.perplexity_sparse, 20.1);
  ASSERT_EQ(read.layers.size(), 3u);
  EXPECT_FALSE(read.layers[1].neurons);
  EXPECT_EQ(read.layers[0].input, Look::kAttention);
  EXPECT_EQ(read.layers[0].point, 1u);
  EXPECT_EQ(read.layers[0].curve[1].recall, 0.9f);
  Compute compute(1);
  std::vector<float> x(32, 0.3f);
  for (size_t l : {0, 2}) {
    std::vector<float> want(48), got(48);
    sidecar_.layers[l].neurons->score(compute, {x.data(), 1, 32}, {want.data(), 1, 48});
    read.layers[l].neurons->score(compute, {x.data(), 1, 32}, {got.data(), 1, 48});
    EXPECT_EQ(got, want);
    EXPECT_EQ(read.layers[l].neurons->bytes(), sidecar_.layers[l].neurons->bytes());
  }
}

TEST_F(SidecarTest, KeepsAPredictorOfSigns) {
  std::vector<uint64_t> planes(48 * sign_words(32));
  for (size_t i = 0; i < planes.size(); i += 8) planes[i] = uint32_t(i * 2654435761u);
  sidecar_.layers[1] = {std::make_shared<SignPredictor>(SignWeights{planes.data(), 48, 32, std::vector<float>(48, 0.5f),
                                                                    std::vector<float>(48, 3)}),
                        Look::kHere,
                        {{-1, 1, 0, 1}},
                        0};
  const Sidecar read = open_sidecar(write());
  ASSERT_TRUE(read.layers[1].neurons);
  EXPECT_EQ(read.layers[1].neurons->kind(), "signs");
  Compute compute(1);
  std::vector<float> x(32, -0.3f), want(48), got(48);
  sidecar_.layers[1].neurons->score(compute, {x.data(), 1, 32}, {want.data(), 1, 48});
  read.layers[1].neurons->score(compute, {x.data(), 1, 32}, {got.data(), 1, 48});
  EXPECT_EQ(got, want);
  const std::string message = refused([](ModelFile& f) {
    for (Tensor& t : f.tensors)
      if (t.name == "blk.1.predictor_signs") t.shape = {24, 16};
  });
  EXPECT_NE(message.find("expected i64 [48, 8]"), message.npos) << message;
}

// Of layers without a predictor too; older files say nothing.
TEST_F(SidecarTest, HowOftenNeuronsAreActiveComesBack) {
  EXPECT_TRUE(open_sidecar(write()).layers[1].frequency.empty());
  for (size_t l : {0, 1})
    for (size_t i = 0; i < 48; ++i) sidecar_.layers[l].frequency.push_back(float(i + l) / 64);
  const Sidecar read = open_sidecar(write());
  for (size_t l = 0; l < 3; ++l) EXPECT_EQ(read.layers[l].frequency, sidecar_.layers[l].frequency) << l;
  EXPECT_FALSE(read.layers[1].learned());
  const auto message = [&](const std::function<void(Tensor&)>& change) {
    return refused([&](ModelFile& f) {
      for (Tensor& t : f.tensors)
        if (t.name == "blk.1.frequency") change(t);
    });
  };
  EXPECT_NE(message([](Tensor& t) { t.shape = {47}; }).find("expected 48 values"), std::string::npos);
  sidecar_.layers[1].frequency[5] = 1.5f;
  EXPECT_NE(message([](Tensor&) {}).find("'blk.1.frequency' holds 1.5, expected shares of tokens"), std::string::npos);
}

TEST_F(SidecarTest, HeadsComeBackAsTheyWereWritten) {
  const Sidecar read = open_sidecar(write());
  EXPECT_FALSE(read.layers[0].heads.groups);
  EXPECT_EQ(read.layers[1].heads.input, Look::kPreviousAttention);
  EXPECT_EQ(read.layers[2].heads.input, Look::kHere);
  EXPECT_EQ(read.layers[1].heads.curve[1].recall, 0.9f);
  EXPECT_FALSE(read.plan(config()).lazy_keys);
  sidecar_.lazy_keys = true;
  EXPECT_TRUE(open_sidecar(write()).plan(config()).lazy_keys);
  const Plan plan = read.plan(config());
  EXPECT_EQ(at(plan, 0, Point::kHeads), nullptr);
  expect_predicts(plan, 1, Point::kHeads, *read.layers[1].heads.groups, 2, Look::kPreviousAttention);
  expect_predicts(plan, 2, Point::kHeads, *read.layers[2].heads.groups, -1, Look::kHere);
  Compute compute(1);
  std::vector<float> x(32, 0.3f);
  for (size_t l : {1, 2}) {
    std::vector<float> want(4), got(4);
    sidecar_.layers[l].heads.groups->score(compute, {x.data(), 1, 32}, {want.data(), 1, 4});
    read.layers[l].heads.groups->score(compute, {x.data(), 1, 32}, {got.data(), 1, 4});
    EXPECT_EQ(got, want);
  }
}

// Files from before heads were chosen, and of models whose heads are all computed, have none of their keys.
TEST_F(SidecarTest, WithoutHeadsThereIsNoTraceOfThem) {
  for (SidecarLayer& l : sidecar_.layers) l.heads = {};
  const ModelFile file = open_gguf(write());
  EXPECT_FALSE(file.meta.has("hunch.heads.kind"));
  EXPECT_FALSE(open_sidecar(dir_ / "m.gguf.hunch").layers[1].heads.groups);
}

TEST_F(SidecarTest, RefusesHeadsThatContradictThemselves) {
  const auto expect = [&](const char* says, const std::function<void(ModelFile&)>& change) {
    const std::string message = refused(change);
    EXPECT_NE(message.find(says), message.npos) << message;
  };
  const auto set = [](const char* key, std::vector<std::string> values) {
    return [=](ModelFile& f) { f.meta.set(key, MetaArray(values)); };
  };
  expect("unknown head predictor 'magic'", set("hunch.heads.kind", {"none", "magic", "hot"}));
  expect("expected one for each of 3 layers", set("hunch.heads.kind", {"none", "linear"}));
  expect("unknown input 'mlp'", set("hunch.heads.input", {"attention", "mlp", "attention"}));
  expect("'hunch.heads.n_group' is 0", [](ModelFile& f) { f.meta.set("hunch.heads.n_group", uint64_t{0}); });
  expect("head_predictor.weight': expected shape [5, 32]",
         [](ModelFile& f) { f.meta.set("hunch.heads.n_group", uint64_t{5}); });
  expect("'hunch.heads.keys' is 'magic'", [](ModelFile& f) { f.meta.set("hunch.heads.keys", std::string("magic")); });
  expect("point 9", [](ModelFile& f) { f.meta.set("hunch.heads.point", MetaArray(std::vector<uint32_t>{0, 9, 0})); });
  expect("blk.1.head_curve",
         [](ModelFile& f) { std::erase_if(f.tensors, [](const Tensor& t) { return t.name == "blk.1.head_curve"; }); });
  expect("hunch.heads.point", [](ModelFile& f) {
    f.meta.set("hunch.heads.point", MetaArray(std::vector<uint32_t>{0, 1}));
  });
  // The first layer has none before it.
  expect("unknown input 'previous_attention'", [&](ModelFile& f) {
    f.meta.set("hunch.heads.kind", MetaArray(std::vector<std::string>{"hot", "linear", "hot"}));
    f.meta.set("hunch.heads.input",
               MetaArray(std::vector<std::string>{"previous_attention", "attention", "attention"}));
    for (const char* name : {"head_predictor.bias", "head_curve"}) {
      Tensor copy = f.get(std::string("blk.2.") + name);
      copy.name = std::string("blk.0.") + name;
      f.tensors.push_back(copy);
    }
  });
}

TEST_F(SidecarTest, KeepsTheVocabularysScreen) {
  EXPECT_FALSE(open_sidecar(write()).screen);
  std::vector<float> in(8 * 32, 0.5f), out(100 * 8, 0.25f);
  sidecar_.screen =
      std::make_shared<VocabScreen>(ScreenWeights{weight_view({in.data(), 8, 32}), weight_view({out.data(), 100, 8}),
                                                  std::vector<float>(100, 0.1f), std::vector<float>(100, 0.2f), 5});
  const Sidecar read = open_sidecar(write());
  ASSERT_TRUE(read.screen);
  EXPECT_EQ(read.plan(config()).screen(), read.screen.get());
  EXPECT_EQ(read.screen->weights().margin, 5);
  EXPECT_EQ(read.screen->weights().inside[99], 0.2f);
  EXPECT_EQ(read.screen->bytes(), sidecar_.screen->bytes());
  const auto expect = [&](const char* says, const std::function<void(ModelFile&)>& change) {
    const std::string message = refused(change);
    EXPECT_NE(message.find(says), message.npos) << message;
  };
  expect("margin", [](ModelFile& f) { f.meta.set("hunch.screen.margin", -1.0); });
  expect("expected shape", [](ModelFile& f) {
    for (Tensor& t : f.tensors)
      if (t.name == "screen_out.weight") t.shape = {200, 4};
  });
  expect("screen.outside",
         [](ModelFile& f) { std::erase_if(f.tensors, [](const Tensor& t) { return t.name == "screen.outside"; }); });
}

TEST_F(SidecarTest, PlansTheCalibratedPointOrADensity) {
  const Plan calibrated = sidecar_.plan(config());
  EXPECT_EQ(calibrated.name, "sparse");
  expect_predicts(calibrated, 0, 0.5f);
  expect_predicts(calibrated, 2, 40);
  EXPECT_EQ(at(calibrated, 1, Point::kNeurons), nullptr);
  // (0.4 + 1 + 0.5) / 3: the two cheap steps.
  const Plan sparser = sidecar_.plan(config(), 0.64);
  expect_predicts(sparser, 0, 0.5f);
  expect_predicts(sparser, 2, 23);
  expect_predicts(sidecar_.plan(config(), 1), 2, -1);
  for (double density : {-1.0, 1.5, std::nan("")}) EXPECT_THROW(sidecar_.plan(config(), density), Error);
}

// A plan is made of what is exact and needs no calibration, and outlives the sidecar.
TEST_F(SidecarTest, PlansStartFromTheExactOneAndKeepWhatTheyPointInto) {
  EXPECT_EQ(at(sidecar_.plan(config()), 1, Point::kLive), nullptr);
  ModelConfig relu = config();
  relu.activation = Activation::kRelu;
  lay_out(relu);
  auto read = std::make_unique<Sidecar>(open_sidecar(write()));
  const Plan plan = read->plan(relu);
  read.reset();
  for (size_t l = 0; l < 3; ++l) {
    ASSERT_TRUE(at(plan, l, Point::kLive));
    EXPECT_EQ(at(plan, l, Point::kLive)->kind(), "relu");
  }
  expect_predicts(plan, 0, 0.5f);
  expect_predicts(plan, 2, 40);
}

TEST_F(SidecarTest, KeepsPredictorsOfLayersThatDiffer) {
  EXPECT_FALSE(open_gguf(write()).meta.has("hunch.mlp.n_ff"));
  sidecar_.layers[2].neurons = std::make_shared<const HotSetPredictor>(std::vector<float>(20, 1.0f), 32);
  const Sidecar read = open_sidecar(write());
  EXPECT_EQ(read.layers[2].neurons->n_out(), 20u);
  EXPECT_EQ(read.layers[0].neurons->n_out(), 48u);
  EXPECT_NE(refused([](ModelFile& f) {
              f.meta.set("hunch.mlp.n_ff", MetaArray(std::vector<uint32_t>{48, 48}));
            }).find("'hunch.mlp.n_ff' has 2 values"),
            std::string::npos);
}

TEST_F(SidecarTest, RefusesWhatContradictsItself) {
  const auto expect = [&](const char* says, const std::function<void(ModelFile&)>& change) {
    const std::string message = refused(change);
    EXPECT_NE(message.find(says), message.npos) << message;
  };
  expect("version 2", [](ModelFile& f) { f.meta.set("hunch.version", uint64_t{2}); });
  expect("'llama'", [](ModelFile& f) { f.meta.set("general.architecture", std::string("llama")); });
  expect("hunch.base.n_layer", [](ModelFile& f) { f.meta.set("hunch.base.n_layer", uint64_t{0}); });
  expect("expected one for each of 4 layers", [](ModelFile& f) { f.meta.set("hunch.base.n_layer", uint64_t{4}); });
  expect("expected shape", [](ModelFile& f) { f.meta.set("hunch.base.n_ff", uint64_t{47}); });
  expect("unknown predictor 'magic'", [](ModelFile& f) {
    f.meta.set("hunch.mlp.kind", MetaArray(std::vector<std::string>{"magic", "none", "hot"}));
  });
  expect("point 7", [](ModelFile& f) { f.meta.set("hunch.mlp.point", MetaArray(std::vector<uint32_t>{1, 0, 7})); });
  expect("predictor_in", [](ModelFile& f) {
    std::erase_if(f.tensors, [](const Tensor& t) { return t.name == "blk.0.predictor_in.weight"; });
  });
  static const float kRising[] = {0, 0.5f, 0, 1, 1, 0.6f, 1, 1};
  expect("densities must fall", [](ModelFile& f) {
    for (Tensor& t : f.tensors)
      if (t.name == "blk.2.curve") t.shape = {2, 4}, t.data = std::as_bytes(std::span(kRising));
  });
  expect("not a number", [](ModelFile& f) {
    static const std::vector<float> bad(48, NAN);
    for (Tensor& t : f.tensors)
      if (t.name == "blk.2.predictor.bias") t.data = std::as_bytes(std::span(bad));
  });
}

std::shared_ptr<const SelectorFamily> teal(std::vector<Teal::Inputs> inputs) {
  return std::make_shared<Teal>(std::move(inputs));
}

TEST_F(SidecarTest, KeepsTheSettingsOfMethodsWithoutPredictors) {
  const DensityCurve curve = {{-1, 1, 0, 1}, {0.25f, 0.6f, 0.1f, 1}, {0.5f, 0.3f, 0.4f, 1}};
  sidecar_.layers[0] = {nullptr, Look::kHere, curve, 1, {}, std::make_shared<Cats>()};
  sidecar_.layers[1] = {nullptr, Look::kHere, curve, 0, {}, std::make_shared<Griffin>()};
  sidecar_.layers[2] = {
      nullptr, Look::kHere, curve, 2, {}, teal({{-1, -1, -1, -1}, {0.1f, -1, 0.2f, 0.3f}, {0.4f, 0.5f, 0.6f, 0.7f}})};
  const Sidecar read = open_sidecar(write());
  EXPECT_EQ(read.family()->kind(), "cats");
  const auto threshold = [&](const Plan& plan, size_t layer, Point point, InputPart part = InputPart::kAttention) {
    const auto* magnitude = dynamic_cast<const Magnitude*>(at(plan, layer, point, part));
    return magnitude ? magnitude->threshold() : NAN;
  };
  const Plan plan = read.plan(config());
  EXPECT_EQ(threshold(plan, 0, Point::kLive), 0.25f);
  EXPECT_EQ(at(plan, 1, Point::kNeurons), nullptr);  // at density 1 it is dense
  for (size_t part = 0; part < kNInputParts; ++part)
    EXPECT_FLOAT_EQ(threshold(plan, 2, Point::kInputs, InputPart(part)), 0.4f + 0.1f * float(part));
  const Plan sparser = read.plan(config(), 0.3);
  const auto* prompt = dynamic_cast<const PromptSelector*>(at(sparser, 1, Point::kNeurons));
  ASSERT_TRUE(prompt);
  EXPECT_FLOAT_EQ(float(prompt->density()), 0.3f);
  const Plan dense = read.plan(config(), 1);
  for (Point point : {Point::kInputs, Point::kNeurons, Point::kLive}) EXPECT_FALSE(dense.uses(point));
  // What a point of TEAL leaves alone has no selector.
  sidecar_.layers[2].point = 1;
  const Plan milder = open_sidecar(write()).plan(config());
  EXPECT_EQ(threshold(milder, 2, Point::kInputs, InputPart::kMlp), 0.2f);
  EXPECT_EQ(at(milder, 2, Point::kInputs, InputPart::kHeads), nullptr);

  const auto expect = [&](const char* says, const std::function<void(ModelFile&)>& change) {
    const std::string message = refused(change);
    EXPECT_NE(message.find(says), message.npos) << message;
  };
  expect("blk.2.inputs",
         [](ModelFile& f) { std::erase_if(f.tensors, [](const Tensor& t) { return t.name == "blk.2.inputs"; }); });
  expect("expected 12 values of f32, the file has 8", [](ModelFile& f) {
    for (Tensor& t : f.tensors)
      if (t.name == "blk.2.inputs") t.shape = {2, 4}, t.data = t.data.first(32);
  });
  expect("not a number", [](ModelFile& f) {
    static const std::vector<float> bad(12, NAN);
    for (Tensor& t : f.tensors)
      if (t.name == "blk.2.inputs") t.data = std::as_bytes(std::span(bad));
  });
  expect("unknown predictor 'dogs'", [](ModelFile& f) {
    f.meta.set("hunch.mlp.kind", MetaArray(std::vector<std::string>{"dogs", "griffin", "teal"}));
  });
}

// A predictor is of one MLP, methods are of any.
TEST_F(SidecarTest, APredictorIsRefusedByLayersOfExpertsAMethodIsNot) {
  std::vector<float> weights(64, 1.0f);
  ModelFile model;
  model.tensors.push_back({"a", DType::kF32, {8, 8}, std::as_bytes(std::span(weights))});
  ModelConfig experts = config();
  experts.moe.n_expert = 8;
  lay_out(experts);
  sidecar_.base.fingerprint = tensor_fingerprint(model);
  try {
    check_sidecar(sidecar_, model, experts);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("one MLP in layer 0, which has 8 experts"), std::string::npos) << e.what();
  }
  sidecar_.layers[0] = {nullptr, Look::kHere, {{-1, 1, 0, 1}}, 0, {}, std::make_shared<Cats>()};
  sidecar_.layers[2] = {nullptr, Look::kHere, {{-1, 1, 0, 1}}, 0, {}, teal({{-1, -1, -1, -1}})};
  EXPECT_TRUE(check_sidecar(sidecar_, model, experts));
}

TEST_F(SidecarTest, TealAndChosenHeadsGoTogether) {
  std::vector<float> weights(64, 1.0f);
  ModelFile model;
  model.tensors.push_back({"a", DType::kF32, {8, 8}, std::as_bytes(std::span(weights))});
  sidecar_.base.fingerprint = tensor_fingerprint(model);
  SidecarLayer& layer = sidecar_.layers[1];
  ASSERT_TRUE(layer.heads.groups);
  layer.family = teal({{-1, -1, -1, -1}, {0.4f, 0.5f, 0.6f, 0.7f}});
  layer.curve = {{-1, 1, 0, 1}, {0.5f, 0.3f, 0.4f, 1}};
  layer.point = 1;
  const Sidecar read = open_sidecar(write());
  check_sidecar(read, model, config());
  const Plan plan = read.plan(config());
  expect_predicts(plan, 1, Point::kHeads, *layer.heads.groups, 2, Look::kPreviousAttention);
  ASSERT_TRUE(at(plan, 1, Point::kInputs, InputPart::kHeads));
  EXPECT_EQ(at(plan, 1, Point::kInputs, InputPart::kHeads)->kind(), "magnitude");
}

TEST_F(SidecarTest, ABrokenFileIsNamed) {
  const fs::path path = write();
  const std::string bytes = read_file(path);
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  try {
    open_sidecar(path);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos) << e.what();
  }
}

TEST_F(SidecarTest, BelongsToOneModelOnly) {
  std::vector<float> weights(64, 1.0f);
  ModelFile model;
  model.tensors.push_back({"a", DType::kF32, {8, 8}, std::as_bytes(std::span(weights))});
  ModelConfig config = SidecarTest::config();
  config.arch = "opt", config.name = "other";
  sidecar_.base.fingerprint = tensor_fingerprint(model);
  const std::string full = tensor_sha256(model);
  check_sidecar(sidecar_, model, config);
  weights[63] = 2;
  EXPECT_NE(tensor_sha256(model), full);
  try {
    check_sidecar(sidecar_, model, config);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("'tiny'"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("'other'"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("other weights"), std::string::npos) << e.what();
  }
  weights[63] = 1;
  const auto expect_refused = [&](const std::function<void(LayerConfig&)>& change) {
    lay_out(config, change);
    EXPECT_THROW(check_sidecar(sidecar_, model, config), Error);
  };
  expect_refused([](LayerConfig& l) { l.n_kv_head = 2; });
  expect_refused([](LayerConfig& l) { l.qk_norm = QkNorm::kAllHeads; });
  expect_refused([](LayerConfig& l) { l.n_ff = l.index == 0 ? 64 : l.n_ff; });
  config.n_ff = 64;
  expect_refused({});
}

// The f16 model's sidecar serves what was quantised: norms and biases are the same numbers, in whatever type.
TEST_F(SidecarTest, ServesTheSameModelInAnotherType) {
  std::vector<float> matrix(64, 1.0f), norm = {1, 0.5f, -2, 3, 4, 5, 6, 7};
  std::vector<f16> half(8);
  for (size_t i = 0; i < 8; ++i) half[i] = to_f16(norm[i]);
  std::vector<std::byte> quantised(8 * 34);
  const auto model = [&](bool small) {
    ModelFile m;
    if (small) {
      m.tensors.push_back({"blk.0.ffn_up.weight", DType::kQ8_0, {8, 32}, quantised});
      m.tensors.push_back({"blk.0.attn_norm.weight", DType::kF32, {8}, std::as_bytes(std::span(norm))});
    } else {
      m.tensors.push_back({"blk.0.ffn_up.weight", DType::kF32, {8, 8}, std::as_bytes(std::span(matrix))});
      m.tensors.push_back({"blk.0.attn_norm.weight", DType::kF16, {8}, std::as_bytes(std::span(half))});
    }
    return m;
  };
  sidecar_.base.fingerprint = tensor_fingerprint(model(false));
  sidecar_.base.vectors = vector_fingerprint(model(false));
  sidecar_.quality.ids = {1, 2, 300};
  const Sidecar read = open_sidecar(write());
  EXPECT_EQ(read.quality.ids, sidecar_.quality.ids);
  EXPECT_TRUE(check_sidecar(read, model(false), config()));
  EXPECT_FALSE(check_sidecar(read, model(true), config()));
  norm[7] = 7.001f;
  EXPECT_THROW(check_sidecar(read, model(true), config()), Error);
  norm[7] = 7;
  sidecar_.base.vectors.clear();  // of an older file
  EXPECT_THROW(check_sidecar(sidecar_, model(true), config()), Error);
}

TEST(SidecarPath, LiesBesideTheModel) {
  EXPECT_EQ(sidecar_path("models/demo.gguf"), "models/demo.gguf.hunch");
  EXPECT_EQ(sidecar_path("models/opt/"), "models/opt.hunch");
  EXPECT_EQ(sidecar_path("models/./opt"), "models/opt.hunch");
}

TEST_F(SidecarTest, IsFoundBesideALinkAndBesideWhatItLeadsTo) {
  const fs::path links = dir_ / "links", files = dir_ / "files";
  fs::create_directories(links);
  fs::create_directories(files / "folder");
  const auto touch = [](const fs::path& path) { std::ofstream(path) << "x"; };
  touch(files / "real.gguf");
  fs::create_symlink(files / "real.gguf", links / "name.gguf");
  fs::create_symlink("../files/folder", links / "folder");
  EXPECT_EQ(find_sidecar(links / "name.gguf"), links / "name.gguf.hunch");  // where it would be
  touch(files / "real.gguf.hunch");
  touch(files / "folder.hunch");
  EXPECT_EQ(find_sidecar(links / "name.gguf"), fs::canonical(files) / "real.gguf.hunch");
  EXPECT_EQ(find_sidecar(files / "real.gguf"), files / "real.gguf.hunch");
  EXPECT_EQ(find_sidecar(links / "folder/"), fs::canonical(files) / "folder.hunch");
  touch(links / "name.gguf.hunch");
  EXPECT_EQ(find_sidecar(links / "name.gguf"), links / "name.gguf.hunch");
  fs::create_symlink(files / "gone.gguf", links / "gone.gguf");
  EXPECT_EQ(find_sidecar(links / "gone.gguf"), links / "gone.gguf.hunch");
}

}  // namespace
}  // namespace hunch
