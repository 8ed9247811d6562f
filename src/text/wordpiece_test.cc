// WordPiece: against a plain implementation in Python (tools/make_tokenizer_fixture.py), and what its files may say.
#include "text/wordpiece.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "text/hf_tokenizer.h"
#include "text/tokenizer_json.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
const fs::path kFixture = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tokenizers" / "wordpiece";

void expect_ids(const Tokenizer& tokenizer, const char* file) {
  for (const Json& row : Json::parse(read_file(kFixture / file)))
    EXPECT_EQ(tokenizer.encode(row.at("text").get<std::string>(), kPlain), row.at("ids").get<Ids>()) << row.at("text");
}

class Folder : public ::testing::Test {
 protected:
  fs::path dir_ = fs::temp_directory_path() / ("hunch_wordpiece" + std::to_string(getpid()));
  void SetUp() override { fs::create_directories(dir_); }
  void TearDown() override { fs::remove_all(dir_); }
  void write(const char* name, const std::string& text) {
    AtomicFile file(dir_ / name);
    file.write(text);
    file.commit();
  }
  TokenizerSpec spec() { return *tokenizer_spec_from_hf_folder(dir_, "bert", ""); }
};

TEST(WordPiece, OfATokenizerJsonCutsAsThePlainImplementation) {
  const Tokenizer tokenizer(*tokenizer_spec_from_hf_folder(kFixture, "bert", ""));
  expect_ids(tokenizer, "expected.json");
  const Ids both = tokenizer.encode("the");
  EXPECT_EQ(both.size(), 3u) << "[CLS] and [SEP]";
  EXPECT_EQ(tokenizer.piece(both[0]), "[CLS]");
  EXPECT_EQ(tokenizer.piece(both[2]), "[SEP]");
}

TEST_F(Folder, VocabTxtIsTheSame) {
  write("vocab.txt", read_file(kFixture / "vocab.txt"));
  const Tokenizer tokenizer(spec());
  expect_ids(tokenizer, "expected.json");
  EXPECT_TRUE(tokenizer.spec() == *tokenizer_spec_from_hf_folder(kFixture, "bert", ""));
}

TEST_F(Folder, TokenizerConfigMayKeepCaseAndAccents) {
  write("vocab.txt", read_file(kFixture / "vocab.txt"));
  write("tokenizer_config.json", R"({"do_lower_case": false})");
  expect_ids(Tokenizer(spec()), "expected_cased.json");
  write("tokenizer_config.json", R"({"strip_accents": false, "tokenize_chinese_chars": false})");
  const Tokenizer tokenizer(spec());
  EXPECT_EQ(tokenizer.encode("th\xc3\xa9", kPlain), Ids({*tokenizer.spec().unk})) << "the accent stays";
  EXPECT_EQ(tokenizer.encode("\xe4\xb8\xad\xe4\xb8\x80", kPlain),
            Ids({*tokenizer.find("\xe4\xb8\xad"), *tokenizer.find("##\xe4\xb8\x80")}));
}

TEST_F(Folder, WithoutItsSpecialTokensIsRefused) {
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\na\n");
  try {
    spec();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(e.what()).find("[SEP]"), std::string::npos) << e.what();
  }
}

TEST(WordPiece, SurvivesGguf) {
  const TokenizerSpec spec = *tokenizer_spec_from_hf_folder(kFixture, "bert", "");
  Metadata meta;
  write_tokenizer_to_gguf(spec, meta);
  EXPECT_EQ(meta.get_string("tokenizer.ggml.model"), "bert");
  const std::vector<std::string>& pieces = meta.get_strings("tokenizer.ggml.tokens");
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(pieces[size_t(*tokenizer.find("the"))], "\xe2\x96\x81the");
  EXPECT_EQ(pieces[size_t(*tokenizer.find("##e"))], "e");
  EXPECT_EQ(pieces[size_t(*spec.bos)], "[CLS]");
  EXPECT_EQ(meta.get_uint("tokenizer.ggml.seperator_token_id"), size_t(*spec.eos));
  TokenizerSpec back = tokenizer_spec_from_gguf(meta);
  EXPECT_TRUE(back == spec);

  TokenizerSpec other = spec;
  other.normalizers = steps_of({.strip_accents = false});
  other.max_word_chars = 7;
  Metadata own;
  write_tokenizer_to_gguf(other, own);
  EXPECT_TRUE(tokenizer_spec_from_gguf(own) == other);
}

// llama.cpp's files say nothing of case: the vocabulary does.
TEST(WordPiece, AVocabularyWithCapitalsKeepsThem) {
  TokenizerSpec spec = parse_wordpiece_vocab("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[unusedA]\nan\n##na\nAnna\n");
  EXPECT_FALSE(guess_bert_normalizer(spec).lower_case);
  spec.pieces.pop_back(), spec.types.pop_back();
  EXPECT_TRUE(guess_bert_normalizer(spec).lower_case);
}

TEST(WordPiece, OfUnknownTokensAndBrokenText) {
  TokenizerSpec spec = parse_wordpiece_vocab("[UNK]\n[CLS]\n[SEP]\nab\n##c\n.\n");
  spec.normalizers = steps_of({});
  const Tokenizer tokenizer(spec);
  EXPECT_EQ(tokenizer.encode("ABcc. ac\xff"
                             "ab",
                             kPlain),
            Ids({3, 4, 4, 5, 0, 0, 3}));
  EXPECT_EQ(tokenizer.encode("a[SEP]", {.add_special = false, .parse_special = true}), Ids({0, 2}));
  EXPECT_EQ(tokenizer.decode(Ids({1, 3, 4, 5, 3, 2}), true), "abc. ab");
  spec.unk.reset();
  EXPECT_EQ(Tokenizer(spec).encode("xyz ab", kPlain), Ids({3}));
}

TEST(WordPiece, RefusesByNameWhatItDoesNotDo) {
  const Json fixture = Json::parse(read_file(kFixture / "tokenizer.json"));
  const auto refused = [&](const char* pointer, const Json& value, const char* named) {
    Json json = fixture;
    json[Json::json_pointer(pointer)] = value;
    try {
      parse_tokenizer_json(json.dump());
      ADD_FAILURE() << named;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported) << e.what();
      EXPECT_NE(std::string(e.what()).find(named), std::string::npos) << e.what();
    }
  };
  refused("/model/continuing_subword_prefix", "@@", "@@");
  refused("/pre_tokenizer", {{"type", "Whitespace"}}, "Whitespace");
  refused("/pre_tokenizer", nullptr, "BertPreTokenizer");
}

}  // namespace
}  // namespace hunch
