// Adapters as an engine loads them: files, several per model, one per context, drafts that are verified.
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "engine/drafting.h"
#include "engine/generate.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"
#include "model/test_settings.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

using Floats = std::vector<float>;

class EngineAdapters : public ::testing::Test {
 protected:
  // A GGUF adapter of the fixture's down and value projections, of values that `seed` draws.
  fs::path write_adapter(const std::string& name, uint32_t seed) {
    const ModelConfig& c = engine_.config();
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0, 0.2f);
    std::deque<Floats> memory;
    ModelFile file;
    file.meta.set("general.type", "adapter");
    file.meta.set("general.architecture", c.arch);
    file.meta.set("adapter.type", "lora");
    file.meta.set("adapter.lora.alpha", 4.0f);
    const auto add = [&](const std::string& tensor, uint64_t rows, uint64_t cols) {
      Floats& x = memory.emplace_back(rows * cols);
      for (float& v : x) v = normal(rng);
      file.tensors.push_back({tensor, DType::kF32, {rows, cols}, std::as_bytes(std::span(x))});
    };
    for (size_t l = 0; l < c.n_layer; ++l) {
      add(fmt::format("blk.{}.ffn_down.weight.lora_a", l), 4, c.n_ff);
      add(fmt::format("blk.{}.ffn_down.weight.lora_b", l), c.n_embd, 4);
      add(fmt::format("blk.{}.attn_v.weight.lora_a", l), 4, c.n_embd);
      add(fmt::format("blk.{}.attn_v.weight.lora_b", l), c.n_embd, 4);
    }
    write_gguf(dir_.path / (name + ".gguf"), file);
    return dir_.path / (name + ".gguf");
  }
  static Floats prompt_logits(Context& context, size_t n = 5) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < n; ++i) ids.push_back(int32_t(5 + i * i % 43));
    const std::span<const float> logits = context.append(ids);
    return {logits.begin(), logits.end()};
  }
  Floats with(const ContextOptions& options) {
    Context context(engine_, options);
    return prompt_logits(context);
  }

  TempDir dir_{"engine_adapters"};
  Engine engine_ = load_engine(golden_fixture("opt_sparse"), {.n_threads = 1});
};

TEST_F(EngineAdapters, ContextsChooseAmongSeveral) {
  const Floats none = with({});
  const AdapterSource a{write_adapter("a", 1)}, b{write_adapter("b", 2)};
  const auto first = engine_.load_adapter({&a, 1}), second = engine_.load_adapter({&b, 1});
  EXPECT_EQ(with({}), none) << "loaded is not chosen";
  EXPECT_GT(worst_difference(with({.adapter = first}), none), 0.05f);
  EXPECT_GT(worst_difference(with({.adapter = second}), with({.adapter = first})), 0.05f);

  const Engine same = load_engine(golden_fixture("opt_sparse"), {.n_threads = 1, .adapters = {a}});
  Context by_default(same, {}), without(same, {.adapter = nullptr});
  EXPECT_EQ(prompt_logits(by_default), with({.adapter = first}));
  EXPECT_EQ(prompt_logits(without), none);

  const AdapterSource both[] = {a, {b.path, 0.5f}};
  EXPECT_GT(worst_difference(with({.adapter = engine_.load_adapter(both)}), with({.adapter = first})), 0.05f);
}

TEST_F(EngineAdapters, NameTheFileThatIsWrong) {
  const AdapterSource nowhere{dir_.path / "nowhere.gguf"};
  const std::string message = message_of(ErrorKind::kNotFound, [&] { engine_.load_adapter({&nowhere, 1}); });
  EXPECT_NE(message.find("nowhere.gguf"), std::string::npos) << message;
}

// A prompt's neurons packed together, read by a context with an adapter, give what reading them where they lie gives.
TEST_F(EngineAdapters, GoWithPlansThatPackWeights) {
  const AdapterSource a{write_adapter("a", 1)};
  Plan griffin = Plan::exact(engine_.config());
  for (size_t l = 0; l < engine_.config().n_layer; ++l) Setting{.kind = "griffin", .density = 0.3f}.set(griffin, l);
  griffin.name = "griffin";
  ContextOptions options;
  options.plan = std::make_shared<const Plan>(std::move(griffin));
  options.adapter = engine_.load_adapter({&a, 1});
  Context context(engine_, options), dense(engine_, {.mode = "dense", .adapter = options.adapter});
  prompt_logits(context, 24), prompt_logits(dense, 24);  // GRIFFIN learns from 16 tokens on
  EXPECT_GT(engine_.model->layouts().packed_bytes(), 0u);
  const std::vector<int32_t> next = {11};
  const std::span<const float> got = context.decode(next);
  const Floats sparse(got.begin(), got.end());
  EXPECT_GT(worst_difference(sparse, dense.decode(next)), 1e-4f) << "neurons are left out";
  context.truncate(context.n_tokens() - 1);
  const MatView<const float> again = context.verify(next);
  EXPECT_LE(worst_difference(again.row(0), sparse), 1e-5f);
}

// Who drafts has the adapter of who verifies: the same model accepts all of its own drafts.
TEST_F(EngineAdapters, AreTheDraftersToo) {
  const AdapterSource a{write_adapter("a", 1)};
  const auto adapter = engine_.load_adapter({&a, 1});
  const std::vector<int32_t> prompt = {5, 9, 2, 40, 7};
  GenerateOptions options;
  options.n_tokens = 12;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  Context plain(engine_, {.adapter = adapter}), host(engine_, {.adapter = adapter}), base(engine_, {});
  const std::vector<int32_t> want = generate(plain, prompt, options).ids;
  EXPECT_NE(generate(base, prompt, options).ids, want);
  Context guest(engine_, {}, host.sequence());
  EXPECT_EQ(prompt_logits(guest), with({.adapter = adapter})) << "a context on another's sequence has its adapter";
  host.truncate(0);
  Drafting drafting(engine_, host.sequence(), {.ngram = true, .n_tokens = 4});
  options.speculation = &drafting.speculation();
  EXPECT_EQ(generate(host, prompt, options).ids, want);
}

}  // namespace
}  // namespace hunch
