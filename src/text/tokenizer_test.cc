// The tokenizer's own behaviour, on the small vocabularies of tests/data/tokenizers (made by
// tools/make_tokenizer_fixture.py, which computes the expected ids by a different, plainer algorithm).
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "text/byte_alphabet.h"
#include "text/hf_tokenizer.h"
#include "text/utf8.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr EncodeOptions kSpecial{.add_special = false, .parse_special = true};

fs::path fixture(const std::string& name) {
  return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tokenizers" / name;
}

TokenizerSpec fixture_spec(const std::string& name) {
  const char* model_type = name == "bpe" ? "opt" : name == "spm" ? "llama" : "t5";
  return *tokenizer_spec_from_hf_folder(fixture(name), model_type, "");
}

void expect_fixture(const std::string& name) {
  const Tokenizer tokenizer(fixture_spec(name));
  const auto expected = nlohmann::json::parse(read_file(fixture(name) / "expected.json"));
  ASSERT_GT(expected.size(), 10u);
  for (const auto& c : expected) {
    EXPECT_EQ(tokenizer.encode(c.at("text").get<std::string>(), kPlain), c.at("ids").get<Ids>()) << c.at("text");
  }
}

TEST(Tokenizer, ByteBpeGivesTheIdsOfThePlainAlgorithm) { expect_fixture("bpe"); }
TEST(Tokenizer, SentencePieceBpeGivesTheIdsOfThePlainAlgorithm) { expect_fixture("spm"); }
TEST(Tokenizer, UnigramGivesTheIdsOfThePlainAlgorithm) { expect_fixture("unigram"); }

TEST(Tokenizer, AStopEndsALongText) {
  for (const char* name : {"bpe", "spm", "unigram"}) {
    const Tokenizer tokenizer(fixture_spec(name));
    Stop stop;
    EncodeOptions options;
    options.stop = &stop;
    EXPECT_FALSE(tokenizer.encode("one two three", options).empty());
    stop.request();
    try {
      tokenizer.encode("one two three", options);
      FAIL() << name;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kInterrupted);
    }
  }
}

TEST(Tokenizer, EachFamilyPutsItsOwnTokensAroundAText) {
  const Tokenizer opt(fixture_spec("bpe")), llama(fixture_spec("spm")), t5(fixture_spec("unigram"));
  EXPECT_EQ(opt.encode(""), Ids({2}));    // </s> begins a text
  EXPECT_EQ(llama.encode(""), Ids({1}));  // <s>
  EXPECT_EQ(t5.encode(""), Ids({1}));     // </s> ends it
  EXPECT_EQ(opt.encode("a"), Ids({2, 101}));
  EXPECT_EQ(t5.encode("a").back(), 1);
  EXPECT_EQ(t5.encode("a", kPlain).size() + 1, t5.encode("a").size());
}

// --- special tokens -------------------------------------------------------------------------------

TEST(Tokenizer, ControlTokensAreFoundOnlyOnRequest) {
  const Tokenizer tokenizer(fixture_spec("bpe"));
  EXPECT_EQ(tokenizer.encode("a</s>a", kSpecial), Ids({101, 2, 101}));
  const Ids letters = tokenizer.encode("a</s>a", kPlain);
  EXPECT_EQ(std::ranges::count(letters, 2), 0);
  EXPECT_EQ(tokenizer.decode(letters), "a</s>a");
  EXPECT_EQ(tokenizer.decode(Ids{101, 2, 101}), "a</s>a");
  EXPECT_EQ(tokenizer.decode(Ids{101, 2, 101}, true), "aa");
}

TEST(Tokenizer, UserDefinedTokensAreAlwaysFoundTheLongestFirst) {
  TokenizerSpec spec = fixture_spec("bpe");
  const auto n = static_cast<int32_t>(spec.pieces.size());
  for (const char* text : {"\n\n", "\n\n\n", "mil"}) {
    spec.pieces.emplace_back(text);
    spec.types.push_back(TokenType::kUserDefined);
  }
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(tokenizer.encode("\n\n\n\n\na", kPlain), Ids({n + 1, n, 101}));
  EXPECT_EQ(tokenizer.encode("mill", kPlain)[0], n + 2);
  EXPECT_EQ(tokenizer.decode(Ids{n + 1, n}), "\n\n\n\n\n");
}

TEST(Tokenizer, AddedTokensSwallowWhiteSpaceAndRespectWordsAsTold) {
  TokenizerSpec spec = fixture_spec("bpe");
  const auto n = static_cast<int32_t>(spec.pieces.size());
  for (const char* text : {"<l>", "<r>", "word"}) {
    spec.pieces.emplace_back(text);
    spec.types.push_back(TokenType::kUserDefined);
  }
  spec.reaches = {{n, true, false, false}, {n + 1, false, true, false}, {n + 2, false, false, true}};
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(tokenizer.encode("a \n<l>a", kPlain), Ids({101, n, 101}));
  EXPECT_EQ(tokenizer.encode("a<r> \xc2\xa0 a", kPlain), Ids({101, n + 1, 101}));
  EXPECT_EQ(tokenizer.encode("word", kPlain), Ids({n + 2}));
  EXPECT_EQ(tokenizer.encode("!word!", kPlain)[1], n + 2);
  EXPECT_EQ(std::ranges::count(tokenizer.encode("swords word\xc3\xa9", kPlain), n + 2), 0);
}

TEST(Tokenizer, SentencePieceBeginsAnewAfterAControlTokenOnly) {
  TokenizerSpec spec = fixture_spec("spm");
  const auto n = static_cast<int32_t>(spec.pieces.size());
  spec.pieces.emplace_back("#");
  spec.types.push_back(TokenType::kUserDefined);
  spec.scores.push_back(0);
  const Tokenizer tokenizer(spec);
  const int32_t the = *tokenizer.find("\xe2\x96\x81the");
  EXPECT_EQ(tokenizer.encode("the</s>the", kSpecial), Ids({the, 2, the}));
  const Ids ids = tokenizer.encode("the#the", kPlain);
  EXPECT_EQ(ids[0], the);
  EXPECT_EQ(ids[1], n);
  EXPECT_NE(ids[2], the);
  EXPECT_EQ(tokenizer.decode(ids), "the#the");
  spec.prefix_first_only = true;
  EXPECT_NE(Tokenizer(spec).encode("the</s>the", kSpecial)[2], the);
}

TEST(Tokenizer, KnowsWhatEndsAnAnswer) {
  TokenizerSpec spec = fixture_spec("bpe");
  const auto n = static_cast<int32_t>(spec.pieces.size());
  for (const char* text : {"<|im_end|>", "<|user|>"}) {
    spec.pieces.emplace_back(text);
    spec.types.push_back(TokenType::kControl);
  }
  spec.extra_eog = {n + 1};
  const Tokenizer tokenizer(spec);
  EXPECT_TRUE(tokenizer.is_end_of_generation(2));
  EXPECT_TRUE(tokenizer.is_end_of_generation(n));
  EXPECT_TRUE(tokenizer.is_end_of_generation(n + 1));
  EXPECT_FALSE(tokenizer.is_end_of_generation(101));
  EXPECT_FALSE(tokenizer.is_end_of_generation(-1));
}

TEST(Tokenizer, AnEndTokenListedAsANormalOneStillEndsAnAnswer) {
  TokenizerSpec spec = fixture_spec("bpe");
  const auto n = static_cast<int32_t>(spec.pieces.size());
  spec.pieces.emplace_back("<|im_end|>");
  spec.types.push_back(TokenType::kNormal);
  const Tokenizer tokenizer(spec);
  EXPECT_TRUE(tokenizer.is_end_of_generation(n));
  EXPECT_TRUE(tokenizer.is_control(n));
  EXPECT_EQ(tokenizer.encode("<|im_end|>", kSpecial), Ids({n}));
}

TEST(Tokenizer, ATextThatBeginsWithBosGetsNoOther) {
  TokenizerSpec spec = fixture_spec("spm");
  spec.add_bos = true;
  const Tokenizer tokenizer(spec);
  const int32_t bos = *spec.bos;
  const std::string text = spec.pieces[size_t(bos)];
  constexpr EncodeOptions kBoth{.add_special = true, .parse_special = true};
  const Ids once = tokenizer.encode("the", kBoth);
  ASSERT_EQ(once[0], bos);
  EXPECT_EQ(tokenizer.encode(text + "the", kBoth), once);
  const Ids twice = tokenizer.encode(text + text + "the", kBoth);
  EXPECT_EQ(twice[1], bos);  // as the text says
  EXPECT_NE(twice[2], bos);
  EXPECT_NE(tokenizer.encode(text + "the", {.add_special = true}), once);  // letters
}

TEST(Tokenizer, TokensWithoutARowOfTheEmbeddingAreLeftOut) {
  TokenizerSpec spec = fixture_spec("bpe");
  const size_t n = spec.pieces.size();
  spec.pieces.emplace_back("<|extra|>");
  spec.types.push_back(TokenType::kControl);
  spec.pad = int32_t(n);
  TokenizerSpec as_before = spec;
  ASSERT_TRUE(drop_added_tokens(spec, n));
  EXPECT_EQ(spec.pieces.size(), n);
  EXPECT_FALSE(spec.pad);
  EXPECT_NE(spec.note.find("<|extra|>"), std::string::npos) << spec.note;
  EXPECT_FALSE(Tokenizer(spec).encode("<|extra|>", kSpecial).empty());
  as_before.eos = int32_t(n);
  EXPECT_FALSE(drop_added_tokens(as_before, n));  // an answer would never end
  as_before.eos.reset();
  as_before.types.back() = TokenType::kNormal;
  EXPECT_FALSE(drop_added_tokens(as_before, n));
  EXPECT_EQ(as_before.pieces.size(), n + 1);
}

// --- round trips ----------------------------------------------------------------------------------

std::string random_text(std::mt19937& random, bool invalid_bytes) {
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  std::string text;
  for (uint32_t n = below(60); n > 0; --n) {
    switch (below(invalid_bytes ? 8 : 7)) {
      case 0: append_utf8(text, 0x80 + below(0x780)); break;
      case 1: append_utf8(text, 0x800 + below(0xd000)); break;
      case 2: append_utf8(text, 0x10000 + below(0x100000)); break;
      case 3: text += "   \n\t"[below(5)]; break;
      case 4: text += "the miller" + std::to_string(below(2000)); break;
      case 5: text += "\xe2\x96\x81"; break;
      case 6: text += static_cast<char>(' ' + below(95)); break;
      default: text += static_cast<char>(below(256)); break;
    }
  }
  return text;
}

TEST(Tokenizer, AnyBytesComeBackFromByteBpe) {
  std::mt19937 random(1);
  const TokenizerSpec base = fixture_spec("bpe");
  for (const char* pre :
       {"gpt-2", "llama-bpe", "qwen2", "gpt-4o", "falcon", "deepseek-llm", "deepseek-v3", "bloom", "superbpe"}) {
    TokenizerSpec spec = base;
    spec.pre = pre;
    const Tokenizer tokenizer(spec);
    for (int i = 0; i < 150; ++i) {
      const std::string text = random_text(random, true);
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, kPlain)), text) << pre;
    }
  }
}

// A typed U+2581 comes back as a space: SentencePiece cannot tell them apart.
TEST(Tokenizer, AnyBytesComeBackFromByteFallback) {
  std::mt19937 random(2);
  const Tokenizer tokenizer(fixture_spec("spm"));
  for (int i = 0; i < 500; ++i) {
    std::string text = random_text(random, true);
    for (size_t at; (at = text.find("\xe2\x96\x81")) != std::string::npos;) text.replace(at, 3, "~");
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, kPlain)), text);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text), true), text);
  }
}

TEST(Tokenizer, UnigramGivesBackKnownTextWithItsSpacesCollapsed) {
  const Tokenizer tokenizer(fixture_spec("unigram"));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("  the miller \n said "), true), "the miller said");
}

// The heap of long words against the scan of short ones: the same text in one word and cut by hand.
TEST(Tokenizer, LongWordsMergeAsShortOnes) {
  std::mt19937 random(3);
  TokenizerSpec spec = fixture_spec("bpe");
  spec.pre_patterns = {"(?s).+"};
  const Tokenizer tokenizer(spec);
  std::unordered_map<std::string, int> rank;
  for (size_t i = 0; i < spec.merges.size(); ++i) rank.emplace(spec.merges[i], static_cast<int>(i));
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> parts;
    for (size_t n = 2 + random() % 120; n > 0; --n) parts.emplace_back(1, "thenmilrsadow"[random() % 13]);
    std::string text;
    for (const std::string& p : parts) text += p;
    while (true) {  // by the book
      int best = INT_MAX;
      size_t at = 0;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto it = rank.find(parts[i] + " " + parts[i + 1]);
        if (it != rank.end() && it->second < best) best = it->second, at = i;
      }
      if (best == INT_MAX) break;
      parts[at] += parts[at + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
    Ids want;
    for (const std::string& p : parts) want.push_back(*tokenizer.find(p));
    EXPECT_EQ(tokenizer.encode(text, kPlain), want) << text;
  }
}

TEST(Tokenizer, OfEqualPairsTheLeftmostIsMerged) {
  TokenizerSpec spec;
  spec.pieces = {"a", "aa"};
  spec.types.assign(2, TokenType::kNormal);
  spec.merges = {"a a"};
  const Tokenizer tokenizer(spec);
  for (size_t n : {3, 7, 31, 101}) {
    Ids want(n / 2, 1);
    want.push_back(0);
    EXPECT_EQ(tokenizer.encode(std::string(n, 'a')), want);
  }
}

TEST(Tokenizer, WordsThatComeBackAreEncodedAsTheFirstTime) {
  for (const char* name : {"bpe", "spm"}) {
    TokenizerSpec spec = fixture_spec(name);
    spec.add_space_prefix = false;
    const Tokenizer tokenizer(spec);
    std::string text;
    Ids want;
    for (int i = 0; i < 12; ++i) {
      for (const char* word : {" donkey", " said", " the", " xyz", " miller"}) {
        text += word;
        const Ids ids = tokenizer.encode(word, kPlain);
        want.insert(want.end(), ids.begin(), ids.end());
      }
    }
    EXPECT_EQ(tokenizer.encode(text, kPlain), want) << name;
  }
}

TEST(Tokenizer, EndlessWordsAreEncodedInReasonableTime) {
  for (const char* name : {"bpe", "spm", "unigram"}) {
    const Tokenizer tokenizer(fixture_spec(name));
    for (const std::string& unit :
         {std::string("the"), std::string(" "), std::string("\n"), std::string("\xe4\xb8\xad")}) {
      std::string text;
      while (text.size() < 200000) text += unit;
      EXPECT_FALSE(tokenizer.encode(text).empty());
    }
  }
}

TEST(Tokenizer, BytesWithoutATokenBecomeUnknownOrTheReplacementCharacter) {
  TokenizerSpec spec;
  for (const char* piece : {"a", "\xc3\xaf", "\xc2\xbf", "\xc2\xbd", "?"})
    spec.pieces.emplace_back(piece);  // a, EF, BF, BD
  spec.types.assign(5, TokenType::kNormal);
  EXPECT_EQ(Tokenizer(spec).encode("ab"), Ids({0, 1, 2, 3}));
  spec.unk = 4;
  EXPECT_EQ(Tokenizer(spec).encode("abba"), Ids({0, 4, 0}));
}

// --- streaming ------------------------------------------------------------------------------------

TEST(StreamDecoder, NeverEmitsHalfACharacter) {
  std::mt19937 random(4);
  for (const char* name : {"bpe", "spm"}) {
    const Tokenizer tokenizer(fixture_spec(name));
    for (int i = 0; i < 300; ++i) {
      const Ids ids = tokenizer.encode(random_text(random, true));
      StreamDecoder stream(tokenizer);
      std::string streamed;
      for (int32_t id : ids) {
        const std::string part = stream.push(id);
        EXPECT_EQ(valid_utf8_prefix(part), part.size());
        streamed += part;
      }
      streamed += stream.finish();
      EXPECT_EQ(streamed, replace_invalid_utf8(tokenizer.decode(ids, true)));
    }
  }
}

TEST(StreamDecoder, HoldsACharacterUntilItsLastByte) {
  const Tokenizer tokenizer(fixture_spec("bpe"));
  const Ids llama = tokenizer.encode("\xf0\x9f\xa6\x99", kPlain);
  ASSERT_EQ(llama.size(), 4u);
  StreamDecoder stream(tokenizer);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(stream.push(llama[static_cast<size_t>(i)]), "");
  EXPECT_EQ(stream.push(llama[3]), "\xf0\x9f\xa6\x99");
  EXPECT_EQ(stream.push(llama[0]), "");
  EXPECT_EQ(stream.push(101),
            "\xef\xbf\xbd"
            "a");  // it will never be complete
  EXPECT_EQ(stream.push(llama[0]), "");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd");
}

TEST(StreamDecoder, KeepsTheSpaceOfATextThatGoesOn) {
  const Tokenizer tokenizer(fixture_spec("spm"));
  const int32_t the = *tokenizer.find("\xe2\x96\x81the");
  EXPECT_EQ(StreamDecoder(tokenizer).push(the), "the");
  EXPECT_EQ(StreamDecoder(tokenizer, true, false).push(the), " the");
}

// --- refusals -------------------------------------------------------------------------------------

ErrorKind kind_of_error(const std::function<void()>& f, std::string* message = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (message) *message = e.what();
    return e.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kInterrupted;
}

TEST(Tokenizer, RefusesASpecThatContradictsItself) {
  const TokenizerSpec good = fixture_spec("spm");
  const auto refused = [&](auto&& change) {
    TokenizerSpec spec = good;
    change(spec);
    EXPECT_EQ(kind_of_error([&] { Tokenizer t(spec); }), ErrorKind::kFormat);
  };
  refused([](TokenizerSpec& s) { s.types.pop_back(); });
  refused([](TokenizerSpec& s) { s.scores.pop_back(); });
  refused([](TokenizerSpec& s) { s.scores[5] = std::numeric_limits<float>::quiet_NaN(); });
  refused([](TokenizerSpec& s) { s.eos = static_cast<int32_t>(s.pieces.size()); });
  refused([](TokenizerSpec& s) { s.extra_eog = {-1}; });
  refused([](TokenizerSpec& s) { s.scores.clear(); });
  refused([](TokenizerSpec& s) { s = TokenizerSpec(); });
  refused([](TokenizerSpec& s) { s.merges = {"nospace"}; });
  refused([](TokenizerSpec& s) { s.charsmap = "abc"; });
  refused([](TokenizerSpec& s) {
    s = fixture_spec("bpe");
    s.merges.clear();
  });
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer tokenizer(fixture_spec("bpe"));
  const auto n = static_cast<int32_t>(tokenizer.n_vocab());
  EXPECT_EQ(kind_of_error([&] { tokenizer.decode(Ids{n}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of_error([&] { tokenizer.piece(-1); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of_error([&] { StreamDecoder(tokenizer).push(n); }), ErrorKind::kUsage);
}

TEST(Tokenizer, RefusesAnUnknownPreTokeniserByNameAndListsTheKnown) {
  TokenizerSpec spec = fixture_spec("bpe");
  spec.pre = "klingon-bpe";
  std::string message;
  EXPECT_EQ(kind_of_error([&] { Tokenizer t(spec); }, &message), ErrorKind::kUnsupported);
  EXPECT_NE(message.find("klingon-bpe"), std::string::npos);
  EXPECT_NE(message.find("llama-bpe"), std::string::npos);
}

TEST(Tokenizer, PaddingIsNeverProduced) {
  TokenizerSpec spec = fixture_spec("spm");
  const size_t n = spec.pieces.size();
  pad_vocabulary(spec, n + 3);
  pad_vocabulary(spec, 1);
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(tokenizer.n_vocab(), n + 3);
  const std::string text = fmt::format("[PAD{}]", n + 1);
  EXPECT_EQ(tokenizer.find(text), static_cast<int32_t>(n + 1));
  for (int32_t id : tokenizer.encode(text, kSpecial)) EXPECT_LT(id, static_cast<int32_t>(n));
}

TEST(Tokenizer, IsSharedBetweenThreads) {
  const Tokenizer tokenizer(fixture_spec("bpe"));
  std::mt19937 random(5);
  std::string text;
  for (int i = 0; i < 50; ++i) text += random_text(random, true);
  const Ids want = tokenizer.encode(text);
  std::vector<std::thread> threads;
  std::array<bool, 4> same{};
  for (size_t t = 0; t < same.size(); ++t) {
    threads.emplace_back([&, t] {
      same[t] = true;
      for (int i = 0; i < 10; ++i) same[t] &= tokenizer.encode(text) == want;
    });
  }
  for (std::thread& t : threads) t.join();
  for (bool s : same) EXPECT_TRUE(s);
}

}  // namespace
}  // namespace hunch
