// Plans of every kind, adapters and memories of models that are divided among ranks: what one process computes, or an
// error that says what is not computed so.
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <map>

#include "engine/context.h"
#include "engine/memory_build.h"
#include "engine/test_followers.h"
#include "engine/test_texts.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "model/families.h"
#include "model/fingerprint.h"
#include "model/test_steps.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"
#include "synth/sidecar.h"
#include "synth/synth.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

struct How {
  size_t n;
  Division division;
};
const How kTensors{2, {}}, kFour{4, {}}, kLayers{2, {.by_layers = true}};

std::string name_of(const How& how) {
  return fmt::format("{} ranks, by {}", how.n, how.division.by_layers ? "layers" : "tensors");
}

// Logits of a prompt that fills the context but for 56 tokens, and of tokens after it, of which some are taken back,
// and of a copy of the text.
std::vector<float> story(const Engine& engine, ContextOptions options) {
  options.n_ctx = options.n_ctx ? options.n_ctx : 96;
  Context context(engine, options);
  const size_t n = options.n_ctx - 56;
  const std::vector<int32_t> ids = some_ids(engine, n + 24, 5);
  std::vector<float> all;
  const auto note = [&](std::span<const float> logits) { all.insert(all.end(), logits.begin(), logits.end()); };
  note(context.append(std::span(ids).first(n)));
  for (size_t i = n; i < n + 12; ++i) note(context.decode(std::span(ids).subspan(i, 1)));
  const bool goes_back = !context.plan().drops_keys();
  if (goes_back) context.truncate(n + 4);
  note(context.append(std::span(ids).subspan(n + 12, 9)));
  note(context.decode(std::span(ids).subspan(n + 21, 1)));
  if (!goes_back || context.learns_from_prompts()) return all;
  const auto branch = context.sequence().fork(context.n_tokens());
  const SequenceRun runs[] = {{branch.get(), std::span(ids).subspan(n + 22, 1), Phase::kDecode, 1},
                              {&context.sequence(), std::span(ids).subspan(n + 23, 1), Phase::kDecode, 1}};
  append_rows(context.batch().compute(runs), all);
  return all;
}

// options(engine) of one process and of ranks give the same.
void expect_same(const fs::path& path, const How& how, const std::function<ContextOptions(const Engine&)>& options,
                 EngineOptions engine_options = {}) {
  SCOPED_TRACE(name_of(how));
  engine_options.n_threads = 1;
  const Engine whole = load_engine(path, engine_options);
  const std::vector<float> want = story(whole, options(whole));
  float scale = 1;
  for (const float x : want) scale = std::max(scale, std::abs(x));
  EXPECT_EQ(with_followers(how.n,
                           [&](Ranks& ranks) {
                             ranks.division = how.division;
                             EngineOptions own = engine_options;
                             own.ranks = &ranks;
                             const Engine engine = load_engine(path, own);
                             EXPECT_LE(worst_difference(story(engine, options(engine)), want), 1e-4f * scale);
                           }),
            "");
}

// The error that it is among ranks.
std::string refused(const fs::path& path, const How& how, const std::function<void(const Engine&)>& use) {
  std::string error = "nothing was refused";
  EXPECT_EQ(with_followers(how.n,
                           [&](Ranks& ranks) {
                             ranks.division = how.division;
                             const Engine engine = load_engine(path, {.n_threads = 1, .ranks = &ranks});
                             try {
                               use(engine);
                             } catch (const Error& e) {
                               EXPECT_TRUE(e.kind() == ErrorKind::kUnsupported || e.kind() == ErrorKind::kFormat);
                               error = e.what();
                             }
                             // Nobody is hurt.
                             EXPECT_FALSE(story(engine, {}).empty());
                           }),
            "");
  return error;
}

// A planted model of this shape with a sidecar beside it.
class SparseRanks : public testing::Test {
 protected:
  fs::path make(const char* shape, const std::function<void(Sidecar&)>& change = {}) {
    SynthOptions o;
    o.shape = synth_shape(shape);
    const bool mixture = o.shape.is_mixture();
    o.shape.n_layer = 3;
    o.shape.n_embd = 256;
    o.shape.n_ff = 512;
    o.shape.n_head = 8;
    o.shape.n_kv_head = o.shape.arch == "opt" ? 8 : 4;
    o.shape.n_vocab = 500;
    o.shape.n_ctx = 128;
    o.dtype = DType::kF32;
    if (is_relu_family(o.shape.activation)) {
      o.planting.density.assign(o.shape.n_layer, 0.2);
      o.planting.n_contexts = 16;
      if (!mixture) o.planting.head_density = 0.5;
    }
    const fs::path path = dir_.path / "model.gguf";
    Compute compute(2);
    write_synth(path, o, compute);
    const ModelFile file = open_gguf(path);
    Sidecar sidecar;
    if (is_relu_family(o.shape.activation)) {
      sidecar = synth_sidecar(o, file);
    } else {
      sidecar.base = {tensor_sha256(file), tensor_fingerprint(file), o.shape.arch, "",
                      o.shape.n_layer,     o.shape.n_embd,           o.shape.n_ff};
      sidecar.layers.resize(o.shape.n_layer);
    }
    if (change) change(sidecar);
    write_sidecar(sidecar_path(path), sidecar);
    return path;
  }
  TempDir dir_{"sparse_ranks"};
};

TEST_F(SparseRanks, PredictedNeuronsAndHeadsAreOneProcesss) {
  for (const char* shape : {"opt-125m", "reglu-3b"}) {
    SCOPED_TRACE(shape);
    const fs::path path = make(shape);
    for (const How& how : {kTensors, kFour, kLayers})
      for (const double density : {0.0, 0.5})
        expect_same(path, how, [&](const Engine&) { return ContextOptions{.mode = "sparse", .density = density}; });
  }
}

// A drafter in sparse mode, and who verifies it, share a text.
TEST_F(SparseRanks, DraftsInSparseModeAreVerified) {
  const fs::path path = make("opt-125m");
  const auto answer = [&](const Engine& engine) {
    Context context(engine, {.n_ctx = 96, .mode = "exact"});
    Context drafter(engine, {.mode = "sparse"}, context.sequence());
    const std::vector<int32_t> ids = some_ids(engine, 30, 5);
    std::vector<float> all;
    context.append(std::span(ids).first(20));
    for (size_t i = 20; i < 29; i += 3) {
      for (size_t k = 0; k < 3; ++k) {
        const auto logits = drafter.decode(std::span(ids).subspan(i + k, 1));
        all.insert(all.end(), logits.begin(), logits.end());
      }
      context.truncate(i);
      append_rows(context.verify(std::span(ids).subspan(i, 3)), all);
    }
    return all;
  };
  const std::vector<float> want = answer(load_engine(path, {.n_threads = 1}));
  for (const How& how : {kTensors, kLayers})
    EXPECT_EQ(with_followers(how.n,
                             [&](Ranks& ranks) {
                               ranks.division = how.division;
                               const Engine engine = load_engine(path, {.n_threads = 1, .ranks = &ranks});
                               EXPECT_LE(worst_difference(answer(engine), want), 2e-3f) << name_of(how);
                             }),
              "");
}

// Each rank then reads as much, whatever the scores say; which of its neurons, the scores say.
TEST_F(SparseRanks, EvenSharesAreEven) {
  const fs::path path = make("opt-125m", [](Sidecar& s) {
    for (SidecarLayer& l : s.layers) l.heads = {};
  });
  const auto bytes_of = [&](bool even) {
    std::vector<uint64_t> neurons;
    EXPECT_EQ(with_followers(4,
                             [&](Ranks& ranks) {
                               ranks.division.by_share = even;
                               const Engine engine = load_engine(path, {.n_threads = 1, .ranks = &ranks});
                               Context context(engine, {.n_ctx = 64, .mode = "sparse"});
                               const std::vector<int32_t> ids = some_ids(engine, 30, 5);
                               context.append(std::span(ids).first(20));
                               context.take_stats_of_others();
                               context.clear_stats();
                               for (size_t i = 20; i < 30; ++i) context.decode(std::span(ids).subspan(i, 1));
                               const auto sum = [](const StepStats& s) {
                                 return std::accumulate(s.active_neurons.begin(), s.active_neurons.end(), uint64_t{0});
                               };
                               neurons.push_back(sum(context.stats()));
                               for (const StepStats& s : context.take_stats_of_others()) neurons.push_back(sum(s));
                             }),
              "");
    EXPECT_EQ(neurons.size(), 4u);
    return neurons;
  };
  const std::vector<uint64_t> even = bytes_of(true), by_score = bytes_of(false);
  EXPECT_EQ(even, std::vector<uint64_t>(4, even[0]));
  EXPECT_NE(by_score, std::vector<uint64_t>(4, by_score[0]));
  EXPECT_GT(even[0], 0u);
  EXPECT_LT(even[0], 10u * 3 * 128 / 2);
}

// Families without training, whose thresholds are the same everywhere.
TEST_F(SparseRanks, ThresholdsAreOneProcesss) {
  const auto with = [&](std::shared_ptr<const SelectorFamily> family, DensityCurve curve) {
    return [=](Sidecar& s) {
      for (SidecarLayer& l : s.layers) l = SidecarLayer{.curve = curve, .point = 0, .family = family};
    };
  };
  const fs::path cats = make("llama-1.1b", with(std::make_shared<const Cats>(), {{0.02f, 0.5f}}));
  const auto sparse = [](const Engine&) { return ContextOptions{.mode = "sparse"}; };
  for (const How& how : {kTensors, kFour, kLayers}) expect_same(cats, how, sparse);
  const std::vector<Teal::Inputs> inputs = {{0.3f, 0.05f, 0.3f, 0.02f}};
  const fs::path teal = make("llama-1.1b", with(std::make_shared<const Teal>(inputs), {{0, 0.5f}}));
  for (const How& how : {kTensors, kFour, kLayers}) expect_same(teal, how, sparse);
}

TEST_F(SparseRanks, WhatComparesAllNeuronsOfALayerIsDividedByLayersOnly) {
  const fs::path path = make("llama-1.1b", [](Sidecar& s) {
    for (SidecarLayer& l : s.layers)
      l = SidecarLayer{.curve = {{0, 0.5f}}, .point = 0, .family = std::make_shared<const Griffin>()};
  });
  expect_same(path, kLayers, [](const Engine&) { return ContextOptions{.mode = "sparse"}; });
  const std::string why = refused(path, kTensors, [](const Engine& engine) { engine.plan_named("sparse"); });
  EXPECT_NE(why.find("griffin"), std::string::npos) << why;
}

// Which are computed so, and the others say that they are not.
TEST(RankKeys, EveryPolicyIsOneProcesssOrSaysThatItIsNot) {
  struct Case {
    const char* policy;
    bool by_tensors, by_layers;
  };
  for (const Case& c : std::initializer_list<Case>{{"streaming:12", true, true},
                                                   {"h2o:12", true, true},
                                                   {"spatten:12", false, false},
                                                   {"spatten:12,heads=0.5", false, false},
                                                   {"tova:12", false, true},
                                                   {"snapkv:20,window=4", true, true},
                                                   {"pyramidkv:20,window=4", true, true},
                                                   {"adakv:20,window=4", false, true},
                                                   {"expected:20", true, true},
                                                   {"expected:20,floor=0.2", false, true},
                                                   {"kvzip:20", false, false},
                                                   {"quest:16,page=4,full=0", true, true},
                                                   {"longformer:16", true, true},
                                                   {"bigbird:16,block=4,random=1", false, true},
                                                   {"strided:4", true, true},
                                                   {"lsh:16,recent=4", true, true},
                                                   {"hyper:22,recent=4,drawn=6", false, true},
                                                   {"clusters:72,k=4,recent=4", true, true},
                                                   {"linear:8", true, true},
                                                   {"performer:16,recent=4", true, true},
                                                   {"linformer:8,recent=4", true, true}}) {
    SCOPED_TRACE(c.policy);
    for (const How& how : {kTensors, kLayers}) {
      const auto options = [&](const Engine&) {
        return ContextOptions{.n_ctx = 160, .keys = key_policy_from(c.policy)};
      };
      const fs::path path = golden_fixture("llama_mha");
      if (how.division.by_layers ? c.by_layers : c.by_tensors) {
        expect_same(path, how, options);
      } else {
        const std::string why = refused(path, how, [&](const Engine& engine) { story(engine, options(engine)); });
        EXPECT_NE(why.find("kv_policy"), std::string::npos) << why;
      }
    }
  }
}

TEST(RankKeys, RanksThatShareKeyHeadsDropNone) {
  const std::string why = refused(golden_fixture("tiny_llama"), kFour,
                                  [](const Engine& engine) { story(engine, {.keys = key_policy_from("h2o:12")}); });
  EXPECT_NE(why.find("outnumber"), std::string::npos) << why;
}

TEST(RankKeys, PatternsOfPromptsAndRoutersAreOneProcesss) {
  for (const How& how : {kTensors, kLayers}) {
    for (const char* pattern : {"a-shape:128,sinks=16", "vertical-slash:128,sinks=16,queries=8", "blocks:128"}) {
      SCOPED_TRACE(pattern);
      expect_same(golden_fixture("llama_mha"), how,
                  [&](const Engine&) { return ContextOptions{.n_ctx = 360, .prefill = pattern}; });
    }
    for (const char* router : {"top:1", "capacity:1.25", "prioritised:1.25", "choice:1", "balanced", "sinkhorn"}) {
      SCOPED_TRACE(router);
      expect_same(golden_fixture("tiny_mixtral"), how,
                  [&](const Engine&) { return ContextOptions{.experts = expert_policy_from(router)}; });
    }
  }
}

TEST(RankKeys, PromptsThatComputeAPartOfTheNeuronsAreRefused) {
  for (const char* prefill : {"neurons:0.5", "a-shape:128,sinks=16,neurons=0.5"})
    for (const How& how : {kTensors, kLayers}) {
      const std::string why = refused(golden_fixture("llama_mha"), how,
                                      [&](const Engine& engine) { story(engine, {.n_ctx = 360, .prefill = prefill}); });
      EXPECT_NE(why.find("prefill"), std::string::npos) << why;
    }
}

// A plan that nobody can make again.
TEST(RankPlans, PlansMadeByHandAreRefused) {
  const std::string why = refused(golden_fixture("opt_sparse"), kTensors, [](const Engine& engine) {
    auto plan = std::make_shared<Plan>(*engine.plan_named("exact"));
    plan->set(0, Point::kLive, {});
    story(engine, {.plan = plan});
  });
  EXPECT_NE(why.find("by hand"), std::string::npos) << why;
}

class RankAdapters : public testing::Test {
 protected:
  // Of all matrices of attention and the MLP, and of the output where it has one of its own.
  fs::path write(const fs::path& model, const char* name, uint32_t seed) {
    const Engine engine = load_engine(model, {.n_threads = 1});
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0, 0.2f);
    std::deque<std::vector<float>> memory;
    ModelFile file;
    file.meta.set("general.type", "adapter");
    file.meta.set("general.architecture", engine.config().arch);
    file.meta.set("adapter.type", "lora");
    file.meta.set("adapter.lora.alpha", 4.0f);
    const auto add = [&](const std::string& tensor, uint64_t rows, uint64_t cols) {
      std::vector<float>& x = memory.emplace_back(rows * cols);
      for (float& v : x) v = normal(rng);
      file.tensors.push_back({tensor, DType::kF32, {rows, cols}, std::as_bytes(std::span(x))});
    };
    std::map<std::string, std::pair<size_t, size_t>> shapes;  // of tensors, which may hold several matrices
    for (const auto& [id, where] : engine.model->weights().tensors) {
      if (id.role == Role::kEmbedding || engine.model->file().find(where.name) == nullptr) continue;
      shapes[where.name].first += where.n_out;
      shapes[where.name].second = where.n_in;
    }
    for (const auto& [tensor, shape] : shapes) {
      add(tensor + ".lora_a", 4, shape.second);
      add(tensor + ".lora_b", shape.first, 4);
    }
    write_gguf(dir_.path / name, file);
    return dir_.path / name;
  }
  TempDir dir_{"rank_adapters"};
};

TEST_F(RankAdapters, AddWhatTheyAddInOneProcess) {
  for (const char* name : {"tiny_llama", "tiny_gptneox", "llama_mha"}) {
    SCOPED_TRACE(name);
    const fs::path model = golden_fixture(name);
    const AdapterSource a{write(model, "a.gguf", 1)}, b{write(model, "b.gguf", 2), 0.5f};
    const auto plain = [](const Engine&) { return ContextOptions{}; };
    {
      const Engine none = load_engine(model, {.n_threads = 1}), with = load_engine(model, {.adapters = {a}});
      EXPECT_GT(worst_difference(story(none, {}), story(with, {})), 0.05f);
    }
    for (const How& how : {kTensors, kFour, kLayers}) {
      if (how.n > load_engine(model).config().n_head) continue;
      expect_same(model, how, plain, {.adapters = {a, b}});
    }
  }
}

// Chosen by context, dropped, and what is wrong with one is said.
TEST_F(RankAdapters, ComeAndGo) {
  const fs::path model = golden_fixture("tiny_llama");
  const AdapterSource a{write(model, "a.gguf", 1)}, b{write(model, "b.gguf", 2)};
  const auto answers = [&](Engine& engine) {
    std::vector<float> all = story(engine, {});
    for (const AdapterSource& source : {a, b, a}) {
      const auto adapter = engine.load_adapter({&source, 1});
      const std::vector<float> own = story(engine, {.adapter = adapter});
      all.insert(all.end(), own.begin(), own.end());
    }
    const AdapterSource wrong{dir_.path / "none.gguf"};
    EXPECT_THROW(engine.load_adapter({&wrong, 1}), Error);
    const std::vector<float> after = story(engine, {});
    all.insert(all.end(), after.begin(), after.end());
    return all;
  };
  Engine whole = load_engine(model, {.n_threads = 1});
  const std::vector<float> want = answers(whole);
  for (const How& how : {kTensors, kLayers})
    EXPECT_EQ(with_followers(how.n,
                             [&](Ranks& ranks) {
                               ranks.division = how.division;
                               Engine engine = load_engine(model, {.n_threads = 1, .ranks = &ranks});
                               EXPECT_LE(worst_difference(answers(engine), want), 1e-3f) << name_of(how);
                             }),
              "");
}

TEST(RankMemories, AreLookedIntoAsInOneProcess) {
  const TempDir dir("rank_memories");
  const fs::path model = golden_fixture("llama_mha"), path = dir.path / "some.hmem";
  {
    const Engine engine = load_engine(model, {.n_threads = 1});
    write_memory(path, build_memory(engine, some_ids(engine, 70, 1), {.layers = {0, 1}, .n_ctx = 24}));
  }
  for (const How& how : {kTensors, kLayers})
    expect_same(model, how, [](const Engine&) { return ContextOptions{}; }, {.memory = {.path = path, .top = 8}});
}

}  // namespace
}  // namespace hunch
