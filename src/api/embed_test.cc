// Vectors of texts and scores of pairs, from words to numbers, against float64 outputs
// (tools/make_embedding_fixture.py).
#include "hunch/embed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "base/test_paths.h"
#include "hunch/generate.h"
#include "hunch/hunch.h"
#include "model/golden_data.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "embedding";
constexpr float kTolerance = 1e-4f;

std::string error_of(ErrorKind kind, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

void expect_near(std::span<const float> got, std::span<const float> want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], kTolerance) << i;
}

double length(std::span<const float> x) {
  double squares = 0;
  for (const float v : x) squares += double(v) * v;
  return std::sqrt(squares);
}

class Embed : public ::testing::Test {
 protected:
  LanguageModel model_{kFixtures / "tiny_bert", {.n_threads = 2}};
  GoldenData golden_{kFixtures / "tiny_bert" / "golden"};
};

TEST_F(Embed, OneTextAndManyAreAsTheReferenceHasThem) {
  std::vector<std::string> texts;
  for (const auto& text : golden_.json().at("words").at("texts")) texts.push_back(text.at("text"));
  const std::pair<Pooling, const char*> kinds[] = {
      {Pooling::kMean, "mean"}, {Pooling::kCls, "cls"}, {Pooling::kLast, "last"}};
  for (const auto& [kind, name] : kinds) {
    SCOPED_TRACE(name);
    const auto all = embed_all(model_, texts, {.pooling = kind, .normalize = false});
    ASSERT_EQ(all.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<float> want = golden_.json().at("words").at("texts")[i].at(name);
      expect_near(all[i], want);
      expect_near(embed(model_, texts[i], {.pooling = kind, .normalize = false}), want);
      EXPECT_NEAR(length(embed(model_, texts[i], {.pooling = kind})), 1, 1e-5);
    }
  }
  // The folder says: mean.
  expect_near(embed(model_, texts[0]), embed(model_, texts[0], {.pooling = Pooling::kMean}));
  EXPECT_TRUE(embed_all(model_, {}).empty());
}

TEST_F(Embed, HiddenStatesAreTheReferences) {
  for (size_t s = 0; s < golden_.sequences.size(); ++s)
    expect_near(hidden_states(model_, golden_.sequences[s].ids).values,
                golden_.array(fmt::format("s{}.token_embeddings", s)));
}

// More than one step holds, and in an order that mixes lengths.
TEST_F(Embed, ManyTextsTakeSeveralSteps) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < 60; ++i) {
    std::string text = "the miller";
    for (size_t k = 0; k < i * 7 % 23; ++k) text += " mill";
    texts.push_back(text);
  }
  const auto all = embed_all(model_, texts);
  for (size_t i = 0; i < texts.size(); ++i) expect_near(all[i], embed(model_, texts[i]));
}

TEST_F(Embed, ALongTextIsAnErrorThatSaysWhichAndHowLong) {
  std::string text;
  for (size_t i = 0; i < 47; ++i) text += " mill";
  const std::string texts[] = {"mill", text};
  const std::string what = error_of(ErrorKind::kLimit, [&] { embed_all(model_, texts); });
  EXPECT_NE(what.find("text 1 has 49 tokens"), std::string::npos) << what;
  EXPECT_NE(what.find("48 positions"), std::string::npos) << what;
}

TEST_F(Embed, ItWritesNoText) {
  EXPECT_NE(error_of(ErrorKind::kUnsupported, [&] { generate(model_, "the mill"); }).find("hunch embed"),
            std::string::npos);
  EXPECT_NE(error_of(ErrorKind::kUnsupported, [&] { rerank(model_, "mill", {}); }).find("cls.output"),
            std::string::npos);
}

TEST(Rerank, ScoresAreTheReferences) {
  const fs::path folder = kFixtures / "tiny_bert_rank";
  LanguageModel model(folder, {.n_threads = 1});
  const GoldenData golden(folder / "golden");
  const auto& words = golden.json().at("words");
  const std::vector<std::string> documents = words.at("documents");
  const std::vector<float> scores = rerank(model, words.at("query").get<std::string>(), documents);
  expect_near(scores, words.at("scores").get<std::vector<float>>());
  EXPECT_NE(error_of(ErrorKind::kUsage, [&] { embed(model, "mill"); }).find("rerank"), std::string::npos);
  EXPECT_EQ(embed(model, "mill", {.pooling = Pooling::kCls}).size(), model.info().n_embd);
}

TEST(Rerank, OfTheCApiIsTheSame) {
  const std::string folder = kFixtures / "tiny_bert_rank";
  LanguageModel same(folder, {.n_threads = 1});
  hunch_load_options options;
  hunch_load_options_init(&options);
  options.n_threads = 1;
  hunch_model* model = hunch_load(folder.c_str(), &options);
  ASSERT_NE(model, nullptr) << hunch_last_error();
  const char* const documents[] = {"the mill", "a donkey"};
  const std::string texts[] = {documents[0], documents[1]};
  float scores[2];
  ASSERT_EQ(hunch_rerank(model, "who?", documents, 2, nullptr, scores), 0) << hunch_last_error();
  const std::vector<float> want = rerank(same, "who?", texts);
  EXPECT_EQ(scores[0], want[0]);
  EXPECT_EQ(scores[1], want[1]);
  hunch_embedding_options embedding;
  hunch_embedding_options_init(&embedding);
  embedding.pooling = "cls";
  embedding.normalize = 0;
  std::vector<float> vector(hunch_n_embd(model));
  ASSERT_EQ(hunch_embed(model, "the mill", &embedding, vector.data()), 0) << hunch_last_error();
  EXPECT_EQ(vector, embed(same, "the mill", {.pooling = Pooling::kCls, .normalize = false}));
  embedding.pooling = "sum";
  EXPECT_EQ(hunch_embed(model, "the mill", &embedding, vector.data()), -1);
  embedding.pooling = "cls";
  embedding.last = 1;
  EXPECT_EQ(hunch_embed(model, "the mill", &embedding, vector.data()), -1);
  hunch_free(model);
}

// A causal model whose folder says that the last token's state counts.
TEST(EmbedShared, Qwen3EmbeddingIsTheReferences) {
  const auto folder = shared_path("golden/models2/qwen3_embedding");
  if (!folder) GTEST_SKIP() << "without the shared data";
  const GoldenData golden(*folder / "golden");
  for (const fs::path& path : {*folder, *folder / "qwen3_embedding.gguf"}) {
    LanguageModel model(path, {.n_threads = 2});
    for (size_t s = 0; s < golden.sequences.size(); ++s) {
      const HiddenStates states = hidden_states(model, golden.sequences[s].ids);
      expect_near(states.row(states.n_tokens - 1), golden.array(fmt::format("s{}.embedding", s)));
    }
  }
}

}  // namespace
}  // namespace hunch
