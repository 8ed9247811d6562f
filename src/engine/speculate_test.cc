#include "engine/speculate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <random>

#include "base/error.h"
#include "engine/context_drafter.h"
#include "engine/drafting.h"
#include "engine/generate.h"
#include "engine/ngram_drafter.h"
#include "model/golden_data.h"
#include "select/linear_predictor.h"
#include "text/byte_alphabet.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

// Drafts what it was told, whatever the pace says: the right tokens, wrong ones, or a mixture.
class ScriptedDrafter : public Drafter {
 public:
  // `script`: the whole text; every `wrong_every`-th draft token is another one (0: none, 1: all).
  ScriptedDrafter(std::vector<int32_t> script, size_t wrong_every, size_t n_vocab)
      : script_(std::move(script)), wrong_every_(wrong_every), n_vocab_(n_vocab) {}
  const char* name() const override { return "scripted"; }
  double prior(uint8_t) const override { return 0.5; }
  void draft(std::span<const int32_t> text, size_t, size_t n_max, const Pace&, Draft& draft) override {
    longest_asked = std::max(longest_asked, n_max);
    for (size_t i = 0; i < std::min(n_max, kMaxDraftTokens); ++i) {
      const size_t at = text.size() + i;
      int32_t id = at < script_.size() ? script_[at] : 7;
      if (wrong_every_ && ++n_drafted_ % wrong_every_ == 0) id = int32_t((size_t(id) + 1) % n_vocab_);
      draft.ids.push_back(id);
      draft.evidence.push_back(0);
    }
  }
  size_t longest_asked = 0;

 private:
  std::vector<int32_t> script_;
  size_t wrong_every_, n_vocab_, n_drafted_ = 0;
};

// A byte-level vocabulary for models that have none: 4 special tokens, the bytes, and padding.
TokenizerSpec byte_vocabulary(size_t n_vocab) {
  TokenizerSpec spec;
  spec.pieces = {"<s>", "<pad>", "</s>", "<unk>"};
  spec.types.assign(4, TokenType::kControl);
  for (int byte = 0; byte < 256; ++byte) {
    spec.pieces.push_back(to_byte_alphabet(std::string(1, char(byte))));
    spec.types.push_back(TokenType::kNormal);
  }
  spec.bos = 0;
  spec.eos = 2;
  pad_vocabulary(spec, n_vocab);
  return spec;
}

Engine engine_with_text(TokenizerSpec (*vocabulary)(size_t) = byte_vocabulary) {
  Engine engine = load_engine(fixture("opt_sparse"), {.n_threads = 2});
  engine.tokenizer.emplace(vocabulary(engine.config().n_vocab));
  return engine;
}

class SpeculateTest : public ::testing::Test {
 protected:
  Engine engine_ = engine_with_text();
  GoldenData golden_{fixture("opt_sparse") / "golden"};
  const std::vector<int32_t>& prompt() const { return golden_.sequences[1].ids; }

  struct Answer {
    Generated generated;
    std::vector<GeneratedToken> tokens;
    std::vector<int32_t> held;  // ids of the context afterwards
  };
  Answer answer(const GenerateOptions& options, Speculation* speculation, size_t n_ctx = 0,
                const std::function<bool(const GeneratedToken&)>& on_token = {}) {
    Context context(engine_, {.n_ctx = n_ctx});
    return answer(context, options, speculation, on_token);
  }
  Answer answer(Context& context, GenerateOptions options, Speculation* speculation,
                const std::function<bool(const GeneratedToken&)>& on_token = {}) {
    options.speculation = speculation;
    Answer a;
    a.generated = generate(context, prompt(), options, [&](const GeneratedToken& t) {
      a.tokens.push_back(t);
      return !on_token || on_token(t);
    });
    a.held.assign(context.ids().begin(), context.ids().end());
    return a;
  }
  // Knows the answer beforehand.
  std::unique_ptr<ScriptedDrafter> scripted(const Answer& plain, size_t wrong_every = 0) {
    std::vector<int32_t> script = prompt();
    script.insert(script.end(), plain.generated.ids.begin(), plain.generated.ids.end());
    return std::make_unique<ScriptedDrafter>(script, wrong_every, engine_.config().n_vocab);
  }

  static void expect_same(const Answer& got, const Answer& want) {
    EXPECT_EQ(got.generated.ids, want.generated.ids);
    EXPECT_EQ(got.generated.text, want.generated.text);
    EXPECT_EQ(name_of(got.generated.stop_reason), name_of(want.generated.stop_reason));
    EXPECT_EQ(got.generated.n_decoded, want.generated.n_decoded);
    EXPECT_EQ(got.held, want.held);
    ASSERT_EQ(got.tokens.size(), want.tokens.size());
    for (size_t i = 0; i < got.tokens.size(); ++i) {
      EXPECT_EQ(got.tokens[i].id, want.tokens[i].id);
      EXPECT_EQ(got.tokens[i].text, want.tokens[i].text);
      EXPECT_EQ(got.tokens[i].log_prob, want.tokens[i].log_prob);
      ASSERT_EQ(got.tokens[i].top.size(), want.tokens[i].top.size());
      for (size_t k = 0; k < got.tokens[i].top.size(); ++k) {
        EXPECT_EQ(got.tokens[i].top[k].id, want.tokens[i].top[k].id);
        EXPECT_EQ(got.tokens[i].top[k].log_prob, want.tokens[i].top[k].log_prob);
      }
    }
  }
};

GenerateOptions greedy(size_t n) {
  GenerateOptions o;
  o.n_tokens = n;
  o.sampler.temperature = 0;
  o.ignore_end = true;
  return o;
}

// Every way of drafting, with every option that shapes an answer: the answer of plain decoding, to the bit of
// its log-probabilities.
TEST_F(SpeculateTest, AnswersAreThoseOfPlainDecoding) {
  std::vector<GenerateOptions> cases(6, greedy(40));
  cases[0].n_top_log_probs = 3;
  cases[1].sampler.repeat_penalty = 1.3f;
  cases[1].sampler.frequency_penalty = 0.2f;
  cases[2].sampler.logit_bias = {{5, 2.0f}, {9, -INFINITY}};
  cases[3].sampler.temperature = 1;
  cases[3].sampler.seed = 3;
  cases[4].ignore_end = false;
  cases[5].sampler.temperature = 1.5f;
  cases[5].sampler.top_p = 0.9f;
  cases[5].sampler.repeat_penalty = 1.1f;
  for (size_t c = 0; c < cases.size(); ++c) {
    const Answer plain = answer(cases[c], nullptr);
    for (const size_t fixed : {0, 5, 16}) {
      for (const size_t wrong_every : {0, 1, 3}) {
        SCOPED_TRACE(fmt::format("case {}, drafts of {}, wrong every {}", c, fixed, wrong_every));
        Speculation speculation(fixed);
        speculation.add(scripted(plain, wrong_every));
        expect_same(answer(cases[c], &speculation), plain);
        const auto stats = speculation.stats();
        EXPECT_GT(stats[0].n_drafted, 0u);
        if (wrong_every == 0) {
          EXPECT_LT(speculation.n_passes(), 20u);
        }
        if (wrong_every == 1) {
          EXPECT_EQ(stats[0].n_accepted, 0u);
        }
      }
      SCOPED_TRACE(fmt::format("case {}, n-grams of {}", c, fixed));
      Speculation speculation(fixed);
      speculation.add(std::make_unique<NgramDrafter>());
      expect_same(answer(cases[c], &speculation), plain);
    }
  }
}

// Sparse mode drafts with some of the heads, whose keys are written with their token or computed late: the verifying
// pass finds all of them, also where drafts were taken back.
TEST_F(SpeculateTest, SparseHeadsDraftForGreedyAnswers) {
  const ModelConfig& c = engine_.config();
  const Answer plain = answer(greedy(70), nullptr);
  std::vector<float> W(c.n_kv_head * c.n_embd);
  std::mt19937 rng(1);
  for (float& w : W) w = std::normal_distribution<float>()(rng);
  auto sidecar = std::make_shared<Sidecar>();
  sidecar->layers.resize(c.n_layer);
  for (SidecarLayer& l : sidecar->layers)
    l.heads = {std::make_shared<LinearPredictor>(weight_view({W.data(), c.n_kv_head, c.n_embd}),
                                                 std::vector<float>(c.n_kv_head, 3.0f)),
               Look::kHere,
               {{0, 0.6f, 0, 1}},
               0};
  for (const bool lazy : {false, true}) {
    sidecar->lazy_keys = lazy;
    engine_.sidecar = sidecar;
    for (const size_t fixed : {1, 5, 16}) {
      SCOPED_TRACE(fmt::format("lazy {}, drafts of {}", lazy, fixed));
      Context context(engine_, {});
      Drafting drafting(engine_, context.sequence(), {.sparse = true, .n_tokens = fixed});
      expect_same(answer(context, greedy(70), &drafting.speculation()), plain);
      const auto stats = drafting.speculation().stats();
      EXPECT_GT(stats[0].n_drafted, 0u);
      EXPECT_LT(stats[0].n_accepted, stats[0].n_drafted);
    }
  }
}

// The model drafts for itself in its own KV cache, badly; and another context of the model drafts well.
TEST_F(SpeculateTest, ModelsDraftForGreedyAnswers) {
  for (const bool penalised : {false, true}) {
    GenerateOptions options = greedy(60);
    if (penalised) options.sampler.repeat_penalty = 1.3f;
    const Answer plain = answer(options, nullptr);
    for (const size_t fixed : {0, 4, 16}) {
      Context context(engine_, {});
      Context self(engine_, {.oracle_density = 0.2, .oracle_head_density = 0.5}, context.sequence());
      Speculation by_itself(fixed);
      by_itself.add(std::make_unique<NgramDrafter>());
      by_itself.add(std::make_unique<ContextDrafter>("self", self, self.n_vocab()));
      expect_same(answer(context, options, &by_itself), plain);

      Context other(engine_, {.mode = "dense"});
      Speculation by_other(fixed);
      by_other.add(std::make_unique<ContextDrafter>("other", other, other.n_vocab()));
      expect_same(answer(options, &by_other), plain);
      const auto stats = by_other.stats();
      if (fixed == 4) {
        EXPECT_GE(double(stats[0].n_accepted), 0.9 * double(stats[0].n_drafted));
        EXPECT_LE(by_other.n_passes(), 16u);  // 59 tokens, five at a time
        EXPECT_GT(stats[0].n_steps, 0u);
        EXPECT_GT(stats[0].bytes, 0u);
      }
      if (fixed == 4 && !penalised) {
        EXPECT_GT(by_itself.stats()[1].n_drafted, 0u);
        EXPECT_LT(by_itself.stats()[1].n_accepted, by_itself.stats()[1].n_drafted);  // a drafter that errs
      }
    }
  }
}

TEST_F(SpeculateTest, StopStringsLimitsAndTheCallbackCutAcceptedRuns) {
  const Answer all = answer(greedy(60), nullptr);
  const std::string& text = all.generated.text;
  ASSERT_GT(text.size(), 16u);
  for (const size_t at : {size_t(3), text.size() / 4, text.size() / 2}) {
    GenerateOptions options = greedy(60);
    options.stop = {text.substr(at, 4), "never there"};
    Speculation speculation(16);
    speculation.add(scripted(all));
    const Answer plain = answer(options, nullptr);
    EXPECT_EQ(plain.generated.stop_reason, StopReason::kStopString);
    expect_same(answer(options, &speculation), plain);
  }
  for (const size_t n : {0, 1, 2, 7}) {  // shorter than the drafts
    Speculation speculation(16);
    auto drafter = scripted(all);
    const ScriptedDrafter& seen = *drafter;
    speculation.add(std::move(drafter));
    expect_same(answer(greedy(n), &speculation), answer(greedy(n), nullptr));
    EXPECT_LT(seen.longest_asked, std::max<size_t>(n, 1));
  }
  for (const size_t n_ctx : {17, 18, 20, 25}) {  // the prompt has 17
    Speculation speculation(16);
    speculation.add(scripted(all));
    const Answer plain = answer(greedy(60), nullptr, n_ctx);
    EXPECT_EQ(plain.generated.stop_reason, StopReason::kContextFull);
    expect_same(answer(greedy(60), &speculation, n_ctx), plain);
  }
  for (const size_t n : {1, 2, 5}) {
    const auto until = [&](size_t& left) { return [&left](const GeneratedToken&) { return --left > 0; }; };
    size_t a = n, b = n;
    const Answer plain = answer(greedy(60), nullptr, 0, until(a));
    Speculation speculation(16);
    speculation.add(scripted(all));
    expect_same(answer(greedy(60), &speculation, 0, until(b)), plain);
    EXPECT_EQ(plain.generated.stop_reason, StopReason::kInterrupted);
  }
}

TEST_F(SpeculateTest, AStopKeepsWhatIsThere) {
  const Answer all = answer(greedy(60), nullptr);
  Stop stop;
  Speculation speculation(16);
  speculation.add(scripted(all));
  size_t n = 0;
  GenerateOptions options = greedy(60);
  options.cancel = &stop;
  const Answer stopped = answer(options, &speculation, 0, [&](const GeneratedToken&) {
    if (++n == 9) stop.request();
    return true;
  });
  EXPECT_EQ(stopped.generated.stop_reason, StopReason::kInterrupted);
  EXPECT_EQ(stopped.generated.ids.size(), 9u);
  EXPECT_EQ(stopped.held.size(), prompt().size() + 8);
}

// An answer goes on from a conversation, and the drafters follow what was taken back.
TEST_F(SpeculateTest, ASecondAnswerInTheSameContextIsThatOfPlainDecoding) {
  for (const size_t fixed : {0, 4}) {
    std::vector<Answer> answers[2];
    for (const bool speculative : {false, true}) {
      Context context(engine_, {}), other(engine_, {});
      Speculation speculation(fixed);
      speculation.add(std::make_unique<NgramDrafter>());
      speculation.add(std::make_unique<ContextDrafter>("other", other, other.n_vocab()));
      for (const size_t keep : {0, 25, 60, 3}) {
        context.truncate(std::min(keep, context.n_tokens()));
        answers[speculative].push_back(answer(context, greedy(20), speculative ? &speculation : nullptr));
      }
    }
    for (size_t i = 0; i < answers[0].size(); ++i) expect_same(answers[1][i], answers[0][i]);
  }
}

TEST_F(SpeculateTest, ADraftModelOfAShorterContextStopsDrafting) {
  Context small(engine_, {.n_ctx = 24});
  Speculation speculation(8);
  speculation.add(std::make_unique<ContextDrafter>("other", small, small.n_vocab()));
  expect_same(answer(greedy(60), &speculation), answer(greedy(60), nullptr));
  EXPECT_GT(speculation.stats()[0].n_accepted, 0u);
}

TEST_F(SpeculateTest, AnotherVocabularyIsRefused) {
  EXPECT_NO_THROW(require_same_vocabulary(engine_, engine_));
  const auto refusal = [&](TokenizerSpec (*vocabulary)(size_t)) -> std::string {
    const Engine other = engine_with_text(vocabulary);
    try {
      require_same_vocabulary(engine_, other);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      return e.what();
    }
    return "";
  };
  const std::string swapped = refusal([](size_t n) {
    TokenizerSpec spec = byte_vocabulary(n);
    std::swap(spec.pieces[4 + 'a'], spec.pieces[4 + 'b']);
    return spec;
  });
  EXPECT_NE(swapped.find("token 101 is 'b'"), std::string::npos) << swapped;
  const std::string longer = refusal([](size_t n) {
    TokenizerSpec spec = byte_vocabulary(n);
    spec.pieces.push_back("more");
    spec.types.push_back(TokenType::kNormal);
    return spec;
  });
  EXPECT_NE(longer.find("'more'"), std::string::npos) << longer;
  EXPECT_EQ(refusal([](size_t n) { return byte_vocabulary(n + 7); }), "");  // padding only
  EXPECT_THROW(Speculation(kMaxDraftTokens + 1), Error);
}

// A model that drafts otherwise, by a number that the clock decides or a fixed one: for a seed the text of plain
// decoding.
TEST_F(SpeculateTest, ASeedGivesOneAnswerHoweverItIsDrafted) {
  constexpr size_t kSeeds = 60;
  const std::vector<int32_t> ids(prompt().begin(), prompt().begin() + 5);
  Context context(engine_, {});
  Context self(engine_, {.oracle_density = 0.1, .oracle_head_density = 0.5}, context.sequence());
  uint64_t n_accepted = 0, n_drafted = 0;
  for (size_t seed = 0; seed < kSeeds; ++seed) {
    GenerateOptions options = greedy(12);
    options.sampler = {};
    options.sampler.seed = seed;
    options.sampler.temperature = 1.3f;
    if (seed % 3 == 1) options.sampler.top_k = 3, options.sampler.presence_penalty = 0.3f;
    if (seed % 3 == 2) options.sampler.top_p = 0.9f, options.sampler.repeat_penalty = 1.2f;
    context.truncate(0);
    const std::vector<int32_t> plain = generate(context, ids, options).ids;
    Speculation speculation(seed % 4);  // 0: as many as pays
    speculation.add(std::make_unique<ContextDrafter>("self", self, self.n_vocab()));
    options.speculation = &speculation;
    context.truncate(0);
    EXPECT_EQ(generate(context, ids, options).ids, plain) << seed;
    n_accepted += speculation.stats()[0].n_accepted;
    n_drafted += speculation.stats()[0].n_drafted;
  }
  EXPECT_GT(n_accepted, 0u);
  EXPECT_LT(n_accepted, n_drafted);
}

}  // namespace
}  // namespace hunch
