// Answers by a grammar: whatever the model, they parse; with drafts and in company they are the same.
#include "engine/constraint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/answer.h"
#include "engine/batch.h"
#include "engine/generate.h"
#include "engine/grammar_constraint.h"
#include "engine/ngram_drafter.h"
#include "engine/speculate.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "text/hf_tokenizer.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const char* const kSchema = R"({"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 5}, "kind": {"enum": ["one", "other"]},
    "list": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "maxItems": 2}},
  "required": ["name", "kind", "list"]})";

class ConstraintTest : public ::testing::Test {
 protected:
  ConstraintTest() {
    const fs::path data = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data";
    engine_ = load_engine(data / "golden" / "bloom_h6", {.n_threads = 1});
    // As many tokens as the model has; every byte is among them.
    TokenizerSpec spec = *tokenizer_spec_from_hf_folder(data / "tokenizers" / "bpe", "bloom", "");
    const size_t n = engine_.config().n_vocab;
    spec.pieces.resize(n);
    spec.types.resize(n);
    const std::set<std::string> left(spec.pieces.begin(), spec.pieces.end());
    std::erase_if(spec.merges, [&](const std::string& merge) {
      const size_t space = merge.find(' ');
      return !left.contains(merge.substr(0, space) + merge.substr(space + 1)) ||
             !left.contains(merge.substr(0, space)) || !left.contains(merge.substr(space + 1));
    });
    engine_.tokenizer.emplace(std::move(spec));
    trie_ = std::make_shared<grammar::TokenTrie>(*engine_.tokenizer);
  }
  std::function<std::unique_ptr<Constraint>()> by(const grammar::Rules& rules, std::string behind = {}) {
    const auto compiled = std::make_shared<grammar::TokenGrammar>(rules, trie_);
    return
        [this, compiled, behind] { return std::make_unique<GrammarConstraint>(compiled, *engine_.tokenizer, behind); };
  }
  Generated answer(const GenerateOptions& options) {
    Context context(engine_, {.n_ctx = 512});
    return generate(context, std::vector<int32_t>{1, 2, 3}, options);
  }

  Engine engine_;
  std::shared_ptr<const grammar::TokenTrie> trie_;
};

GenerateOptions hot(uint64_t seed) {
  GenerateOptions o;
  o.n_tokens = 400;
  o.sampler.temperature = 2;
  o.sampler.top_k = int32_t(seed % 3) * 20;
  o.sampler.seed = seed;
  o.log_probs = seed % 2;
  return o;
}

bool is_valid(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  return json.is_object() && json.size() == 3 && json["name"].is_string() &&
         (json["kind"] == "one" || json["kind"] == "other") && json["list"].is_array() && json["list"].size() <= 2;
}

TEST_F(ConstraintTest, EveryAnswerParses) {
  const auto constraint = by(grammar::schema_rules(Json::parse(kSchema)));
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    GenerateOptions options = hot(seed);
    if (seed == 0) options.sampler = {.temperature = 0};
    if (seed == 1) options.sampler = {.logit_bias = {{5, -INFINITY}}, .repeat_penalty = 1.3f, .temperature = 0};
    options.constraint = constraint;
    const Generated g = answer(options);
    EXPECT_TRUE(is_valid(g.text)) << seed << ": " << g.text;
    EXPECT_EQ(g.stop_reason, StopReason::kEndOfText) << seed;
    seen.insert(g.text);
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST_F(ConstraintTest, DraftsAndNeighboursChangeNothing) {
  const auto constraint = by(grammar::schema_rules(Json::parse(kSchema)));
  // Of texts that repeat themselves, so that n-grams are drafted; many of the drafts may not follow.
  const auto repeating = by(grammar::parse_gbnf("root ::= (\"ab\" | \"abc\" | \"d\"){30,40}"));
  size_t n_drafted = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    GenerateOptions options = hot(seed);
    if (seed % 4 == 0) options.sampler.temperature = 0;
    options.constraint = seed % 2 ? constraint : repeating;
    options.as_alone = true;
    const Generated alone = answer(options);
    EXPECT_EQ(alone.stop_reason, StopReason::kEndOfText);
    Speculation speculation(seed % 2 ? 3 : 5);
    speculation.add(std::make_unique<NgramDrafter>());
    options.speculation = &speculation;
    const Generated drafted = answer(options);
    EXPECT_EQ(drafted.ids, alone.ids) << seed;
    EXPECT_EQ(drafted.text, alone.text);
    for (const auto& stats : speculation.stats()) n_drafted += stats.n_drafted;
  }
  EXPECT_GT(n_drafted, 0u);
}

TEST_F(ConstraintTest, InABatchEachHasItsOwn) {
  const auto constraint = by(grammar::schema_rules(Json::parse(kSchema)));
  std::vector<Generated> alone;
  std::vector<GenerateOptions> all;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    all.push_back(hot(seed));
    all.back().as_alone = true;
    if (seed != 2) all.back().constraint = constraint;
    if (seed == 2) all.back().n_tokens = 40;
    alone.push_back(answer(all.back()));
  }
  Batch batch(engine_, {.n_tokens = 2048});
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::shared_ptr<Answer>> answers;
  for (const GenerateOptions& options : all) {
    sequences.push_back(batch.new_sequence({.n_ctx = 512}));
    answers.push_back(batch.admit(*sequences.back(), {1, 2, 3}, options, {}));
  }
  while (batch.n_answers() > 0) batch.step();
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(answers[i]->generated().ids, alone[i].ids) << i;
}

TEST_F(ConstraintTest, EndsWhereNothingElseMayComeAndNotBefore) {
  GenerateOptions options = hot(3);
  options.constraint = by(grammar::parse_gbnf("root ::= \"xyz\""));
  const Generated g = answer(options);
  EXPECT_EQ(g.text, "xyz");
  EXPECT_EQ(g.stop_reason, StopReason::kEndOfText);
  EXPECT_EQ(g.n_decoded + 1, g.ids.size());
  options.n_tokens = g.ids.size();
  EXPECT_EQ(answer(options).stop_reason, StopReason::kEndOfText);
  options.n_tokens = 1;
  options.constraint = by(grammar::parse_gbnf("root ::= \"x\"{50}"));
  EXPECT_EQ(answer(options).stop_reason, StopReason::kLength);
}

TEST_F(ConstraintTest, HoldsBehindAMarkOnly) {
  GenerateOptions options = hot(5);
  options.constraint = by(grammar::parse_gbnf("root ::= \"{}\""), "e");
  const Generated g = answer(options);
  ASSERT_EQ(g.stop_reason, StopReason::kEndOfText) << g.text;
  EXPECT_TRUE(g.text.ends_with("{}")) << g.text;
  EXPECT_NE(g.text.find('e'), g.text.npos);
  GrammarConstraint one(std::make_shared<grammar::TokenGrammar>(grammar::parse_gbnf("root ::= \"{}\""), trie_),
                        *engine_.tokenizer, "e");
  const int32_t e = *engine_.tokenizer->find("e"), open = *engine_.tokenizer->find("{");
  ASSERT_TRUE(one.accept(open) && one.accept(e) && one.accept(open));
  EXPECT_FALSE(one.accept(e));
  one.go_back(2);
  EXPECT_TRUE(one.accept(open) && one.accept(e) && !one.accept(e));
}

}  // namespace
}  // namespace hunch
