// How a text is computed: types of the cache, key policies and adapters through the public headers, with the demo
// model.
#include "api/choices.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "hunch/batch.h"
#include "hunch/chat.h"
#include "hunch/embed.h"
#include "hunch/evaluate.h"
#include "hunch/session.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";
constexpr const char* kPrompt = "Once upon a time there was a little girl who";
using Ids = std::vector<int32_t>;

GenerationOptions greedy(size_t n_tokens) {
  GenerationOptions options;
  options.n_tokens = n_tokens;
  options.temperature = 0;
  options.ignore_end = true;
  return options;
}

class ApiChoices : public testing::Test {
 protected:
  // An adapter of all down projections, of values that `seed` draws.
  LoraAdapter adapter(uint32_t seed) const {
    const ModelInfo& info = model.info();
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0, 0.3f);
    std::deque<std::vector<float>> memory;
    ModelFile file;
    file.meta.set("general.type", "adapter");
    file.meta.set("general.architecture", info.architecture);
    file.meta.set("adapter.type", "lora");
    file.meta.set("adapter.lora.alpha", 4.0f);
    const auto add = [&](const std::string& name, uint64_t rows, uint64_t cols) {
      std::vector<float>& x = memory.emplace_back(rows * cols);
      for (float& v : x) v = normal(rng);
      file.tensors.push_back({name, DType::kF32, {rows, cols}, std::as_bytes(std::span(x))});
    };
    for (size_t l = 0; l < info.n_layer; ++l) {
      add(fmt::format("blk.{}.ffn_down.weight.lora_a", l), 4, info.n_ff);
      add(fmt::format("blk.{}.ffn_down.weight.lora_b", l), info.n_embd, 4);
    }
    const fs::path path = dir.path / fmt::format("adapter{}.gguf", seed);
    write_gguf(path, file);
    return {.path = path};
  }
  Ids ids_of(const GenerationOptions& options) { return generate(model, kPrompt, options).ids; }

  TempDir dir{"api_choices"};
  LanguageModel model{kDemo, {.n_threads = 1, .n_ctx = 96}};
};

TEST_F(ApiChoices, KeysAndValuesAreKeptAsTheNamedType) {
  const Ids ids = model.tokenize(kPrompt);
  LanguageModel unrounded(kDemo, {.n_threads = 1, .n_ctx = 96, .kv = "f32"});
  const Logits exact = logits(unrounded, ids);
  EXPECT_NE(logits(model, ids).values, exact.values);  // f16 is the default
  for (const char* kv : {"f32", "f16", "q8_0", "q4_0", "q4_0-rot", "kivi-2"}) {
    SCOPED_TRACE(kv);
    LanguageModel other(kDemo, {.n_threads = 1, .n_ctx = 96, .kv = kv});
    const Logits got = logits(other, ids);
    double worst = 0;
    for (size_t i = 0; i < got.values.size(); ++i)
      worst = std::max(worst, std::abs(double(got.values[i]) - exact.values[i]));
    EXPECT_EQ(worst == 0, std::string(kv) == "f32");
    EXPECT_LT(worst, 4);
  }
  for (const char* kv : {"", "q4_k", "bf16", "half"}) {
    SCOPED_TRACE(kv);
    const std::string message =
        message_of(ErrorKind::kUsage, [&] { LanguageModel(kDemo, {.n_threads = 1, .kv = kv}); });
    EXPECT_NE(message.find("expected one of f32, f16, q8_0, q4_0"), std::string::npos) << message;
  }
}

TEST_F(ApiChoices, AKeyPolicyIsThatOfTheCallOrOfTheModel) {
  GenerationOptions options = greedy(120);
  EXPECT_EQ(generate(model, kPrompt, options).stop_reason, "context_full");
  options.kv_policy = "streaming:24";
  const Generation streamed = generate(model, kPrompt, options);
  EXPECT_EQ(streamed.stop_reason, "length");
  EXPECT_EQ(streamed.ids.size(), 120u);
  options.kv_policy.reset();
  LanguageModel other(kDemo, {.n_threads = 1, .n_ctx = 96, .kv_policy = "streaming:24"});
  EXPECT_EQ(generate(other, kPrompt, options).ids, streamed.ids);
  options.kv_policy = "";  // all stay
  EXPECT_EQ(generate(other, kPrompt, options).stop_reason, "context_full");
  for (const char* wrong : {"lru:4", "h2o", "h2o:96"}) {
    options.kv_policy = wrong;
    EXPECT_THROW(generate(model, kPrompt, options), Error) << wrong;
  }
}

TEST_F(ApiChoices, DraftsBesideAKeyPolicyAreRefused) {
  GenerationOptions options = greedy(8);
  options.kv_policy = "h2o:16";
  for (const bool lossless : {false, true}) {
    options.drafts = {.lossless = lossless, .ngram = true};
    EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { ids_of(options); }).find("drafts"), std::string::npos);
  }
}

TEST_F(ApiChoices, LogitsOfAPolicyAreThoseOfDecoding) {
  const Ids ids = model.tokenize(kPrompt);
  const Logits all = logits(model, ids), few = logits(model, ids, {.kv_policy = "h2o:4"});
  double difference = 0;
  for (size_t i = 0; i < all.n_vocab; ++i)
    difference = std::max(difference, std::abs(double(all.row(10)[i]) - few.row(10)[i]));
  EXPECT_GT(difference, 0.05);
  EXPECT_TRUE(std::ranges::equal(all.row(0), few.row(0)));
  const std::string text = std::string(kPrompt) + " lived in a house with a cat and a dog and a bird. " + kPrompt;
  EXPECT_GT(perplexity(model, text, {.kv_policy = "streaming:4,sinks=1"}).perplexity,
            1.01 * perplexity(model, text).perplexity);
}

TEST_F(ApiChoices, HiddenStatesAreThoseOfTheWholeModel) {
  LanguageModel other(
      kDemo,
      {.n_threads = 1, .n_ctx = 96, .plan = {.name = "sparse", .density = 0.1}, .kv_policy = "streaming:4,sinks=1"});
  EXPECT_EQ(embed(other, kPrompt), embed(model, kPrompt));
}

TEST_F(ApiChoices, ASessionWhosePolicyDroppedTokensGoesBackByReadingAgain) {
  const SessionOptions forgets{.kv_policy = "h2o:8"};
  Session session(model, forgets);
  session.generate(kPrompt, greedy(12));
  const Ids before(session.ids().begin(), session.ids().end());
  session.truncate(before.size() - 6);
  EXPECT_EQ(session.ids().size(), before.size() - 6);
  EXPECT_EQ(session.generate("", greedy(6)).ids.size(), 6u);

  // An answer that fails leaves the session as it was, and usable.
  session.truncate(before.size() - 6);
  EXPECT_THROW(session.generate(" and", greedy(6), [](std::string_view) -> bool { throw std::runtime_error("no"); }),
               std::runtime_error);
  EXPECT_TRUE(std::ranges::equal(session.ids(), std::span(before).first(before.size() - 6)));
  Session other(model, forgets);
  EXPECT_EQ(session.generate("", greedy(6)).ids,
            other.generate(std::span(before).first(before.size() - 6), greedy(6)).ids);
}

TEST_F(ApiChoices, ASessionKeepsItsKeyPolicyWhateverThePlan) {
  Session session(model, {.kv_policy = "h2o:8"});
  session.generate(kPrompt, greedy(4));
  GenerationOptions sparse = greedy(4);
  sparse.plan = PlanChoice{.name = "sparse", .density = 0.4};
  EXPECT_NEAR(session.generate("", sparse).density, 0.4, 0.1);
  EXPECT_EQ(session.generate("", greedy(4)).ids.size(), 4u);
  sparse.kv_policy = "h2o:8";
  EXPECT_EQ(session.generate("", sparse).ids.size(), 4u);
  for (const char* another : {"", "streaming:24"}) {
    sparse.kv_policy = another;
    message_of(ErrorKind::kUsage, [&] { session.generate("", sparse); });
  }
}

TEST_F(ApiChoices, AChatWhosePolicyDroppedTokensGoesOn) {
  ChatSession chat(model, {.template_file = "plain", .kv_policy = "streaming:16"});
  chat.say("Hello, who are you?", greedy(6));
  chat.set_system("Be kind.");  // nothing that was computed can be used
  const ChatAnswer answer = chat.say("And you?", greedy(6));
  EXPECT_EQ(answer.n_cached, 0u);
  EXPECT_FALSE(answer.generation.ids.empty());
}

TEST_F(ApiChoices, AdaptersAreThoseOfTheCallOrOfTheModel) {
  const LoraAdapter a = adapter(1), b = adapter(2);
  const Ids base = ids_of(greedy(12));
  const auto with = [&](std::vector<LoraAdapter> adapters) {
    GenerationOptions options = greedy(12);
    options.adapters = std::move(adapters);
    return options;
  };
  const Ids first = ids_of(with({a}));
  EXPECT_NE(first, base);
  EXPECT_NE(ids_of(with({b})), first);
  EXPECT_NE(ids_of(with({a, b})), first);
  EXPECT_EQ(ids_of(with({{.path = a.path, .scale = 0}})), base);
  EXPECT_EQ(ids_of(greedy(12)), base);

  LanguageModel adapted(kDemo, {.n_threads = 1, .n_ctx = 96, .adapters = {a}});
  EXPECT_EQ(generate(adapted, kPrompt, greedy(12)).ids, first);
  EXPECT_EQ(generate(adapted, kPrompt, with({})).ids, base) << "none of them";
  EXPECT_EQ(embed(adapted, kPrompt), embed(model, kPrompt, {.adapters = {{a}}}));
  EXPECT_NE(embed(adapted, kPrompt), embed(model, kPrompt));
  const Ids ids = model.tokenize(kPrompt);
  EXPECT_EQ(logits(adapted, ids).values, logits(model, ids, {.adapters = {{a}}}).values);
  EXPECT_EQ(logits(adapted, ids, {.adapters = std::vector<LoraAdapter>()}).values, logits(model, ids).values);
  EXPECT_EQ(perplexity(adapted, kPrompt).nll, perplexity(model, kPrompt, {.adapters = {{a}}}).nll);

  EXPECT_NE(message_of(ErrorKind::kNotFound, [&] { ids_of(with({{.path = "nowhere.gguf"}})); }).find("nowhere.gguf"),
            std::string::npos);
}

TEST_F(ApiChoices, SessionsAndBatchesHaveAdaptersToo) {
  GenerationOptions with = greedy(10);
  with.adapters = {{adapter(1)}};
  with.as_alone = true;
  const Ids base = ids_of(greedy(10)), adapted = ids_of(with);
  Session session(model, {.adapters = with.adapters});
  EXPECT_EQ(session.generate(kPrompt, greedy(10)).ids, adapted);

  GenerationBatch batch(model, {.n_sequences = 2});
  GenerationOptions without = greedy(10);
  without.as_alone = true;
  const size_t a = batch.add(kPrompt, with), b = batch.add(kPrompt, without);
  while (batch.step()) {
  }
  EXPECT_EQ(batch.result(a).ids, adapted);
  EXPECT_EQ(batch.result(b).ids, base);

  LanguageModel other(kDemo, {.n_threads = 1, .n_ctx = 96, .adapters = *with.adapters});
  GenerationBatch by_default(other, {.n_sequences = 1});
  const size_t c = by_default.add(kPrompt, without);
  while (by_default.step()) {
  }
  EXPECT_EQ(by_default.result(c).ids, adapted);
}

TEST_F(ApiChoices, LosslessDraftsHaveTheAdapter) {
  GenerationOptions options = greedy(24);
  options.adapters = {{adapter(1)}};
  const Ids want = ids_of(options);
  options.drafts = {.lossless = true, .n_tokens = 3};
  const Generation got = generate(model, kPrompt, options);
  EXPECT_EQ(got.ids, want);
  EXPECT_GT(got.n_drafted, 0u);
}

TEST_F(ApiChoices, DraftsAreVerifiedInSharedSteps) {
  LanguageModel other(kDemo, {.n_threads = 1, .threads_of = &model});
  GenerationBatch batch(model, {.n_sequences = 4});
  std::vector<std::pair<size_t, Ids>> all;
  for (size_t i = 0; i < 4; ++i) {
    GenerationOptions options = greedy(20 + i);
    if (i == 2) options.adapters = {{adapter(1)}};
    const Ids want = ids_of(options);
    if (i == 0) options.drafts = {.lossless = true, .n_tokens = 3};
    if (i == 1) options.drafts = {.model = &other, .n_tokens = 3};
    if (i == 2) options.drafts = {.lossless = true, .n_tokens = 2};
    all.emplace_back(batch.add(kPrompt, options), want);
  }
  while (batch.step()) {
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(batch.result(all[i].first).ids, all[i].second) << i;
    EXPECT_EQ(batch.result(all[i].first).n_drafted > 0, i != 3) << i;
  }
}

}  // namespace
}  // namespace hunch
