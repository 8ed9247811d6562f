#include "compress/sparsify_method.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "base/error.h"
#include "compress/teal.h"
#include "engine/drafting.h"
#include "kernels/each_target.h"
#include "select/prompt_selector.h"
#include "select/selectors.h"
#include "synth/plant.h"
#include "synth/synth.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr size_t kContexts = 16;

// A planted SwiGLU model of two layers.
fs::path write(DType dtype) {
  SynthOptions o;
  o.shape = synth_shape("llama-1.1b");
  o.shape.n_layer = 2;
  o.shape.n_embd = 96;
  o.shape.n_ff = 320;
  o.shape.n_head = 4;
  o.shape.n_kv_head = 2;
  o.shape.n_vocab = 1024;
  o.shape.n_ctx = 256;
  o.dtype = dtype;
  o.planting.n_contexts = kContexts;
  o.planting.density.assign(2, 0.2);
  const fs::path path = fs::temp_directory_path() / fmt::format("hunch-method-{}-{}.gguf", ::getpid(), name_of(dtype));
  Compute compute(2);
  write_synth(path, o, compute);
  return path;
}

// Stretches of one context's words.
std::vector<int32_t> text(size_t n) {
  const SynthTokens tokens(kContexts, 1024, 1);
  std::mt19937 rng(7);
  std::vector<int32_t> ids;
  while (ids.size() < n) {
    const auto words = tokens.words(rng() % kContexts);
    for (size_t i = 0; i < 64; ++i) ids.push_back(int32_t(words[rng() % words.size()]));
  }
  ids.resize(n);
  return ids;
}

// What the selectors of a layer were made with, by where they stand.
std::map<size_t, double> settings(const Plan& plan, size_t layer) {
  std::map<size_t, double> out;
  const auto add = [&](Point point, InputPart part) {
    const Selector* selector = plan.at(layer, point, part).selector.get();
    if (const auto* magnitude = dynamic_cast<const Magnitude*>(selector)) {
      out[Plan::slot(point, part)] = magnitude->threshold();
    } else if (const auto* prompt = dynamic_cast<const PromptSelector*>(selector)) {
      out[Plan::slot(point, part)] = prompt->density();
    } else {
      EXPECT_EQ(selector, nullptr) << selector->kind();
    }
  };
  for (size_t part = 0; part < kNInputParts; ++part) add(Point::kInputs, InputPart(part));
  for (const Point point : {Point::kHeads, Point::kNeurons, Point::kLive}) add(point, InputPart::kAttention);
  return out;
}

std::shared_ptr<const Plan> griffin(float density) {
  const auto plan = std::make_shared<Plan>();
  for (size_t l = 0; l < 2; ++l) Griffin().set(*plan, l, {0, density});
  return plan;
}

class MethodTest : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    f16_ = new fs::path(write(DType::kF16));
    q8_0_ = new fs::path(write(DType::kQ8_0));
  }
  static void TearDownTestSuite() {
    for (fs::path* path : {f16_, q8_0_}) {
      fs::remove(*path);
      delete path;
    }
    reports_.clear();
  }
  // Of the f16 model at half density; made once.
  static const SparsifyReport& half(const std::string& method) {
    auto& report = reports_[method];
    if (!report)
      report = std::make_unique<SparsifyReport>(
          sparsify_method(load_engine(*f16_, {2}), text(1300), *method_named(method), at(0.5)));
    return *report;
  }
  static ModelConfig config_of_f16() { return load_engine(*f16_, {1}).config(); }
  static SparsifyOptions at(double density) {
    SparsifyOptions o;
    o.density = density;
    o.screen = false;
    return o;
  }
  static fs::path *f16_, *q8_0_;
  static std::map<std::string, std::unique_ptr<SparsifyReport>> reports_;
};
std::map<std::string, std::unique_ptr<SparsifyReport>> MethodTest::reports_;
fs::path *MethodTest::f16_ = nullptr, *MethodTest::q8_0_ = nullptr;

TEST_P(MethodTest, MeetsADensityAndComesBackFromItsFile) {
  const SparsifyReport& report = half(GetParam());
  EXPECT_TRUE(report.met);
  double density = 0, bytes = 0, dense = 0;
  for (const SparsifyLayer& l : report.layers) density += l.density / 2, bytes += l.bytes, dense += l.exact_bytes;
  EXPECT_NEAR(density, 0.5, 0.03);
  EXPECT_LT(bytes, 0.8 * dense);
  EXPECT_LT(report.rows.back().bytes_per_token, report.rows.front().bytes_per_token);
  EXPECT_GT(report.rows.back().top1, 0.8);

  const fs::path path = f16_->string() + ".out.hunch";
  write_sidecar(path, report.sidecar);
  const Sidecar read = open_sidecar(path);
  EXPECT_EQ(read.family()->kind(), GetParam());
  for (double d : {0.0, 0.3, 0.8}) {
    const Plan want = report.sidecar.plan(config_of_f16(), d), got = read.plan(config_of_f16(), d);
    for (size_t l = 0; l < 2; ++l) EXPECT_EQ(settings(got, l), settings(want, l));
  }
  // At density 1 the method is dense, to the bit.
  for (size_t l = 0; l < 2; ++l) EXPECT_TRUE(settings(read.plan(config_of_f16(), 1), l).empty());
  fs::remove(path);
}

TEST_P(MethodTest, MeetsABudgetOfPerplexityOnTextItDidNotSee) {
  const Engine engine = load_engine(*f16_, {2});
  SparsifyOptions o;
  o.max_ppl_increase = 0.02;
  const SparsifyReport report = sparsify_method(engine, text(1500), *method_named(GetParam()), o);
  EXPECT_TRUE(report.met);
  EXPECT_LE(report.rows.back().perplexity, report.rows.front().perplexity * 1.02);
  EXPECT_LT(report.rows.back().bytes_per_token, report.rows.front().bytes_per_token);
}

// Decoding and the pass that measures quality are two pieces of code for one thing.
TEST_P(MethodTest, DecodingComputesWhatWasMeasured) {
  const WithoutTiles without;  // decoding's products are not a prompt's there
  for (const fs::path* path : {f16_, q8_0_}) {
    Engine engine = load_engine(*path, {2});
    engine.sidecar = std::make_shared<Sidecar>(half(GetParam()).sidecar);
    const std::vector<int32_t> ids = text(60);
    ContextOptions o;
    o.mode = "sparse";
    o.n_ctx = 60;
    Context one(engine, o);
    o.decodes_all = true;
    Context all(engine, o);
    std::vector<float> measured;
    all.append_all(ids, [&](size_t, MatView<const float> l) {
      measured.insert(measured.end(), l.data, l.data + l.rows * l.cols);
    });
    // GRIFFIN's prompt is the first half of the context where quality is measured; the others restrict every token
    // there.
    const size_t n_prompt = one.learns_from_prompts() ? 30 : 0;
    if (n_prompt) one.append(std::span(ids).first(n_prompt));
    for (size_t i = n_prompt; i < ids.size(); ++i) {
      const auto logits = one.decode(std::span(ids).subspan(i, 1));
      for (size_t v = 0; v < logits.size(); ++v)
        ASSERT_NEAR(logits[v], measured[i * logits.size() + v], 0.08) << path->string() << " token " << i;
    }
    EXPECT_LT(one.stats().active_neurons[0], one.stats().all_neurons[0]);
  }
}

// Drafts by the method, verified by the whole model: the answer of plain decoding, token for token.
TEST_P(MethodTest, LosslessAnswersAreThoseOfPlainDecoding) {
  Engine engine = load_engine(*f16_, {2});
  engine.sidecar = std::make_shared<Sidecar>(half(GetParam()).sidecar);
  const std::vector<int32_t> prompt = text(40);
  GenerateOptions options;
  options.n_tokens = 80;
  options.sampler.temperature = 0;
  options.ignore_end = true;
  Context plain(engine, {});
  const Generated want = generate(plain, prompt, options);
  Context context(engine, {});
  DraftingOptions with;
  with.sparse = true;
  with.n_tokens = 4;
  Drafting drafting(engine, context.sequence(), with);
  options.speculation = &drafting.speculation();
  const Generated got = generate(context, prompt, options);
  EXPECT_EQ(got.ids, want.ids);
  ASSERT_EQ(drafting.speculation().stats().size(), 1u);
  EXPECT_GT(drafting.speculation().stats()[0].n_accepted, 0u);
  const uint64_t dense_bytes = (want.stats.weight_bytes + want.stats.kv_bytes) / want.n_decoded;
  const auto drafts = drafting.speculation().stats()[0];
  EXPECT_LT(drafts.bytes / drafts.n_steps, dense_bytes);  // else the drafts were dense
}

TEST_P(MethodTest, RefusesWhatItCannotDo) {
  const Method& method = *method_named(GetParam());
  const Engine engine = load_engine(*f16_, {2});
  EXPECT_THROW(sparsify_method(engine, text(100), method, at(0.5)), Error);
  EXPECT_THROW(sparsify_method(engine, text(1400), method, at(-1)), Error);
}

// Random weights, from another implementation's checkpoint: nothing is planted here.
TEST_P(MethodTest, TheGoldenLlamaHasItsPrice) {
  const Engine engine = load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / "llama_mha", {2});
  std::mt19937 rng(3);
  std::vector<int32_t> ids(1300);
  for (int32_t& id : ids) id = int32_t(rng() % engine.config().n_vocab);
  const SparsifyReport report = sparsify_method(engine, ids, *method_named(GetParam()), at(0.6));
  EXPECT_TRUE(report.met);
  const CompareRow &dense = report.rows.front(), &sparse = report.rows.back();
  EXPECT_LT(sparse.bytes_per_token, 0.95 * dense.bytes_per_token);
  EXPECT_NEAR(sparse.density_mlp, 0.6, 0.1);
  EXPECT_GT(sparse.kl, 0);
  EXPECT_LT(sparse.kl, 0.5);
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodTest, ::testing::Values("cats", "griffin", "teal"),
                         [](const auto& info) { return std::string(info.param); });

using Methods = MethodTest;

TEST_F(Methods, SaysWhenADensityIsOutOfReach) {
  const Engine engine = load_engine(*f16_, {2});
  const SparsifyReport sparse = sparsify_method(engine, text(1300), *method_named("griffin"), at(1e-4));
  EXPECT_FALSE(sparse.met);
  ASSERT_FALSE(sparse.notes.empty());
  EXPECT_NE(sparse.notes[0].find("cannot be met"), std::string::npos);
}

// A prompt in one context chooses the neurons that answer to this context, and few others.
TEST_F(Methods, GriffinFindsThePlantedNeuronsOfAContext) {
  const Engine engine = load_engine(*f16_, {2});
  const SynthTokens tokens(kContexts, 1024, 1);
  struct Gates : Observer {  // neurons of layer 0 by mean |z|
    std::vector<double> sum;
    void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> z) override {
      if (place.layer != 0) return;
      sum.resize(z.cols);
      for (size_t t = 0; t < z.rows; ++t)
        for (size_t k = 0; k < z.cols; ++k) sum[k] += std::abs(z.row(t)[k]);
    }
  };
  std::vector<std::vector<uint32_t>> chosen;
  for (size_t context : {3, 11}) {
    ContextOptions o;
    o.plan = griffin(0.2f);
    Context c(engine, o);
    std::vector<int32_t> prompt;
    for (size_t i = 0; i < 48; ++i) prompt.push_back(int32_t(tokens.words(context)[i % tokens.words(context).size()]));
    c.append(prompt);
    struct Packed : Observer {
      std::vector<uint32_t> kept;
      void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> z) override {
        for (uint32_t k = 0; k < z.cols && place.layer == 0; ++k)
          if (z.row(0)[k] != 0) kept.push_back(k);
      }
    } packed;
    c.set_observer(&packed);
    c.decode(std::span(prompt).first(1));
    EXPECT_EQ(packed.kept.size(), size_t(std::ceil(0.2 * 320)));
    // What other words of the same context use, computed densely.
    Gates gates;
    Context dense(engine, {});
    dense.set_observer(&gates);
    std::vector<int32_t> others;
    for (size_t i = 0; i < 32; ++i)
      others.push_back(int32_t(tokens.words(context)[(48 + i) % tokens.words(context).size()]));
    dense.append(others);
    double kept = 0, all = 0;
    for (double s : gates.sum) all += s;
    for (uint32_t k : packed.kept) kept += gates.sum[k];
    EXPECT_GT(kept, 0.8 * all);
    chosen.push_back(packed.kept);
  }
  std::vector<uint32_t> both;
  std::ranges::set_intersection(chosen[0], chosen[1], std::back_inserter(both));
  EXPECT_LT(both.size(), chosen[0].size() * 3 / 4);  // another context, other neurons
}

TEST_F(Methods, AShortPromptChoosesNothingAndACutStartsAnew) {
  const Engine engine = load_engine(*f16_, {2});
  ContextOptions o;
  o.plan = griffin(0.2f);
  Context c(engine, o);
  const std::vector<int32_t> ids = text(100);
  const auto share = [&](size_t at) {
    c.clear_stats();
    c.decode(std::span(ids).subspan(at, 1));
    return double(c.stats().active_neurons[0]) / double(c.stats().all_neurons[0]);
  };
  c.append(std::span(ids).first(PromptSelector::kMinTokens - 1));
  EXPECT_EQ(share(50), 1.0);
  c.truncate(0);
  c.append(std::span(ids).first(40));
  EXPECT_NEAR(share(50), 0.2, 0.01);
  c.truncate(40);  // what was decoded is taken back, the prompt stays
  EXPECT_NEAR(share(51), 0.2, 0.01);
  c.truncate(20);  // into the prompt
  EXPECT_EQ(share(52), 1.0);
}

TEST_F(Methods, TealSpendsItsSparsityWhereItCostsLeast) {
  const Engine engine = load_engine(*f16_, {2});
  const std::vector<int32_t> ids = text(800);
  BlockProbe probe(engine, ids, {256, 128});
  probe.next();
  const TealFit fit = fit_teal(probe, engine.config().layers[0]);
  ASSERT_GT(fit.curve.size(), 5u);
  EXPECT_EQ(fit.inputs.size(), fit.curve.size());
  EXPECT_EQ(fit.curve[0].density, 1);
  EXPECT_LT(fit.curve.back().density, 0.15);
  const std::array<double, kNInputParts> sizes = part_sizes(engine.config().layers[0]);
  double total = 0;
  for (double s : sizes) total += s;
  for (size_t p = 1; p < fit.curve.size(); ++p) {
    EXPECT_LT(fit.curve[p].density, fit.curve[p - 1].density);
    // The density is what the thresholds leave of the sample, weighted by size.
    double density = 0;
    for (size_t part = 0; part < kNInputParts; ++part) {
      const auto m = probe.magnitudes(InputPart(part));
      density +=
          sizes[part] / total * double(m.end() - std::ranges::upper_bound(m, fit.inputs[p][part])) / double(m.size());
    }
    EXPECT_NEAR(fit.curve[p].density, density, 0.01);
  }
  // Where it leaves half of the weights out, the same share of every input would cost more.
  const auto half = std::ranges::find_if(fit.curve, [](const CurvePoint& p) { return p.density < 0.5; });
  Teal::Inputs uniform;
  for (size_t part = 0; part < kNInputParts; ++part)
    uniform[part] = magnitude_quantile(probe.magnitudes(InputPart(part)), 1 - double(half->density));
  EXPECT_LT(half->loss, probe.error(Teal({uniform}), {}));
}

}  // namespace
}  // namespace hunch
