// The files that tokenizers come in: tokenizer.json, SentencePiece and tiktoken models, GGUF metadata, folders.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "text/hf_tokenizer.h"
#include "text/sentencepiece_model.h"
#include "text/tiktoken.h"
#include "text/tokenizer_json.h"
#include "text/vocab_merges.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

std::string fixture_file(const std::string& name) {
  return read_file(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tokenizers" / name);
}

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

// A byte-level BPE over a, b, c, space and digits, as a tokenizer.json to be changed by a test.
Json tiny_json() {
  Json vocab = Json::object();
  for (const char* piece : {"a", "b", "c", "\xc4\xa0", "1", "2", "ab", "abc",
                            "\xc4\xa0"
                            "ab",
                            "12", "!"}) {
    vocab[piece] = vocab.size();
  }
  return {
      {"version", "1.0"},
      {"added_tokens", Json::array({{{"id", 11}, {"content", "<s>"}, {"special", true}},
                                    {{"id", 12}, {"content", "bb"}, {"special", false}, {"rstrip", true}}})},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array({"a b", "ab c", "\xc4\xa0 ab", "1 2"})}}}};
}

TokenizerSpec parse(const Json& json) { return parse_tokenizer_json(json.dump()); }

TEST(TokenizerJson, ReadsModelAndAddedTokens) {
  const Tokenizer tokenizer(parse(tiny_json()));
  EXPECT_EQ(tokenizer.spec().pre, "gpt-2");
  EXPECT_EQ(tokenizer.encode("abc ab12"), Ids({7, 8, 9}));
  EXPECT_EQ(tokenizer.encode("abb  c<s>", {.add_special = true, .parse_special = true}), Ids({0, 12, 2, 11}));
  EXPECT_EQ(tokenizer.encode("abb", kPlain), Ids({0, 12}));
  EXPECT_TRUE(tokenizer.is_control(11));
}

TEST(TokenizerJson, MergesMayBePairs) {
  Json json = tiny_json();
  json["model"]["merges"] = Json::parse(R"([["a","b"],["ab","c"],["Ġ","ab"],["1","2"]])");
  EXPECT_TRUE(parse(json) == parse(tiny_json()));
}

TEST(TokenizerJson, SplitBehaviours) {
  const auto words = [](const char* behavior, bool invert, const char* pattern) {
    Json json = tiny_json();
    json["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         Json::array(
             {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}})}};
    return Tokenizer(parse(json)).encode("ab!!ab12", kPlain);
  };
  EXPECT_EQ(words("Isolated", false, "b|1"), Ids({0, 1, 10, 10, 0, 1, 4, 5}));
  EXPECT_EQ(words("MergedWithPrevious", false, "b|1"), Ids({6, 10, 10, 6, 4, 5}));
  EXPECT_EQ(words("MergedWithNext", false, "b|1"), Ids({0, 1, 10, 10, 0, 1, 9}));
  EXPECT_EQ(words("Contiguous", false, "[b1]"), Ids({0, 1, 10, 10, 0, 1, 4, 5}));
  EXPECT_EQ(words("Removed", true, "[a-c]+|[0-9]|!"), Ids({6, 10, 10, 6, 4, 5}));
  error_of(ErrorKind::kUnsupported, [&] { words("Removed", false, "b"); });
  error_of(ErrorKind::kUnsupported, [&] { words("MergedWithNext", true, "b"); });
}

TEST(TokenizerJson, TemplatesSayWhatIsAdded) {
  Json json = tiny_json();
  json["post_processor"] = Json::parse(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
       "special_tokens": {"<s>": {"ids": [11]}}}]})");
  const Tokenizer tokenizer(parse(json));
  EXPECT_EQ(tokenizer.encode("abc"), Ids({11, 7}));
  EXPECT_EQ(tokenizer.encode("abc", kPlain), Ids({7}));
  EXPECT_FALSE(tokenizer.spec().add_eos);
}

TEST(TokenizerJson, NormalisersAreApplied) {
  Json json = tiny_json();
  json["normalizer"] = Json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"},
      {"type": "Replace", "pattern": {"String": "x"}, "content": "abc"}, {"type": "Strip"}]})");
  const TokenizerSpec spec = parse(json);
  EXPECT_TRUE(spec.nfc);
  EXPECT_EQ(Tokenizer(spec).encode("  ABX ", kPlain), Ids({6, 7}));
}

TEST(TokenizerJson, RefusesByNameWhatItDoesNotDo) {
  const auto refused = [](const std::function<void(Json&)>& change, const char* named) {
    Json json = tiny_json();
    change(json);
    EXPECT_NE(error_of(ErrorKind::kUnsupported, [&] { parse(json); }).find(named), std::string::npos);
  };
  refused([](Json& j) { j["model"]["type"] = "WordLevel"; }, "WordLevel");
  refused([](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "</w>");
  refused([](Json& j) { j["normalizer"] = {{"type", "StripAccents"}}; }, "StripAccents");
  refused(
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "BertPreTokenizer"}}}}};
      },
      "BertPreTokenizer");
  refused(
      [](Json& j) {
        j["pre_tokenizer"]["type"] = "Whitespace";
        j["decoder"] = nullptr;
      },
      "BPE");
}

TEST(TokenizerJson, RefusesMalformedFiles) {
  for (const char* text : {"", "[]", "{", "{}", R"({"model": 1})", R"({"model": {"type": "BPE", "vocab": {"a": 0}}})",
                           R"({"model": {"type": "Unigram", "vocab": [["a"]]}})"}) {
    EXPECT_THROW(parse_tokenizer_json(text), Error) << text;
  }
  Json json = tiny_json();
  json["model"]["vocab"]["far"] = 1000000000;
  error_of(ErrorKind::kFormat, [&] { parse(json); });
  json["model"]["vocab"]["far"] = 4.6e66;  // found by the fuzzer: not an integer
  error_of(ErrorKind::kFormat, [&] { parse(json); });
  Json nested = nullptr;
  for (int i = 0; i < 40; ++i) nested = {{"type", "Sequence"}, {"normalizers", Json::array({nested})}};
  json = tiny_json();
  json["normalizer"] = nested;
  error_of(ErrorKind::kFormat, [&] { parse(json); });
}

TEST(TokenizerJson, OwnPatternsSurviveGguf) {
  Json json = tiny_json();
  json["pre_tokenizer"] =
      Json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "+"},
      "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false}]})");
  json["normalizer"] = Json::parse(R"({"type": "Replace", "pattern": {"Regex": " +"}, "content": " "})");
  TokenizerSpec spec = parse(json);
  EXPECT_EQ(spec.pre_patterns.size(), 1u);
  EXPECT_EQ(spec.pre, "");
  spec.chat_template = "{{ messages }}";
  spec.extra_eog = {3};
  spec.eot = 11;
  pad_vocabulary(spec, 20);
  Metadata meta;
  write_tokenizer_to_gguf(spec, meta);
  EXPECT_TRUE(tokenizer_spec_from_gguf(meta) == spec);
  EXPECT_EQ(Tokenizer(spec).encode("ab  ab", kPlain), Ids({8, 8}));
}

TEST(SentencePieceModel, EveryTruncationIsRefusedOrRead) {
  const std::string bytes = fixture_file("spm/tokenizer.model");
  const TokenizerSpec whole = parse_sentencepiece_model(bytes);
  EXPECT_EQ(whole.kind, TokenizerKind::kSentencePieceBpe);
  EXPECT_TRUE(whole.byte_fallback);
  EXPECT_EQ(whole.types[1], TokenType::kControl);
  size_t n_refused = 0;
  for (size_t n = 0; n < bytes.size(); ++n) {
    try {
      parse_sentencepiece_model(std::string_view(bytes).substr(0, n));
    } catch (const Error& e) {
      ++n_refused;
    }
  }
  EXPECT_GT(n_refused, bytes.size() / 2);
  Metadata meta;
  write_tokenizer_to_gguf(whole, meta);
  EXPECT_TRUE(tokenizer_spec_from_gguf(meta) == whole);
}

TEST(Tiktoken, RanksBecomeMerges) {
  // a b c ab bc abc, ranks in this order: "abc" is ab + c or a + bc.
  const std::string ranks = "YQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYmM= 4\nYWJj 5\n";
  EXPECT_TRUE(is_tiktoken(ranks));
  EXPECT_FALSE(is_tiktoken("\x0a\x0e\x0a\x05<unk>"));
  const TokenizerSpec spec = parse_tiktoken(ranks);
  EXPECT_EQ(spec.merges, std::vector<std::string>({"a b", "b c", "a bc", "ab c"}));
  EXPECT_EQ(Tokenizer(spec).encode("abc"), Ids({5}));
  EXPECT_EQ(Tokenizer(spec).encode("cab"), Ids({2, 3}));
  for (const char* bad : {"YQ== 0\nYg== 0\n", "YQ== 1\n", "YQ==\n", "Y*== 0\n", "YQ== x\n", ""}) {
    error_of(ErrorKind::kFormat, [&] { parse_tiktoken(bad); });
  }
}

// --- GGUF metadata --------------------------------------------------------------------------------

Metadata tiny_gguf() {
  Metadata meta;
  write_tokenizer_to_gguf(parse(tiny_json()), meta);
  return meta;
}

TEST(GgufTokenizer, WritesTheKeysThatOtherReadersWant) {
  TokenizerSpec spec = parse_sentencepiece_model(fixture_file("spm/tokenizer.model"));
  spec.add_bos = true;
  Metadata meta;
  write_tokenizer_to_gguf(spec, meta);
  EXPECT_EQ(meta.get_string("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(meta.get_string("tokenizer.ggml.pre"), "default");
  EXPECT_EQ(meta.get_strings("tokenizer.ggml.tokens").size(), spec.pieces.size());
  EXPECT_EQ(meta.get_floats("tokenizer.ggml.scores"), spec.scores);
  EXPECT_EQ(meta.get_ints("tokenizer.ggml.token_type")[3], 6);
  EXPECT_EQ(meta.get_uint("tokenizer.ggml.bos_token_id"), 1u);
  EXPECT_EQ(meta.get_uint("tokenizer.ggml.eos_token_id"), 2u);
  EXPECT_EQ(meta.get_uint("tokenizer.ggml.unknown_token_id"), 0u);
  EXPECT_TRUE(meta.get_bool("tokenizer.ggml.add_bos_token"));
  EXPECT_TRUE(meta.get_bool("tokenizer.ggml.add_space_prefix"));
  EXPECT_EQ(tiny_gguf().get_string("tokenizer.ggml.pre"), "gpt-2");
}

TEST(GgufTokenizer, SaysWhatItAssumesForAMissingName) {
  Metadata meta = tiny_gguf();
  meta.erase("tokenizer.ggml.pre");
  const TokenizerSpec spec = tokenizer_spec_from_gguf(meta);
  EXPECT_EQ(spec.pre, "gpt-2");
  EXPECT_NE(spec.note.find("tokenizer.ggml.pre"), std::string::npos);
}

TEST(GgufTokenizer, RefusesWhatContradictsItself) {
  error_of(ErrorKind::kNotFound, [] { tokenizer_spec_from_gguf(Metadata()); });
  const auto with = [](const char* key, MetaValue value) {
    Metadata meta = tiny_gguf();
    meta.set(key, std::move(value));
    return meta;
  };
  const auto read = [](const Metadata& meta) { return [meta] { tokenizer_spec_from_gguf(meta); }; };
  error_of(ErrorKind::kUnsupported, read(with("tokenizer.ggml.model", std::string("rwkv"))));
  error_of(ErrorKind::kUnsupported, read(with("tokenizer.ggml.pre", std::string("klingon"))));
  error_of(ErrorKind::kFormat, read(with("tokenizer.ggml.token_type", MetaArray(std::vector<int32_t>{1}))));
  Metadata spm = with("tokenizer.ggml.model", std::string("llama"));
  spm.set("tokenizer.ggml.scores", MetaArray(std::vector<float>{1.0f}));
  error_of(ErrorKind::kFormat, read(spm));
  // An id outside the vocabulary means "none": files write 2^32 - 1.
  EXPECT_FALSE(tokenizer_spec_from_gguf(with("tokenizer.ggml.padding_token_id", uint32_t{0xffffffff})).pad);
}

// --- folders --------------------------------------------------------------------------------------

class HfFolder : public ::testing::Test {
 protected:
  fs::path dir_ = fs::temp_directory_path() / ("hunch_tokenizer_files" + std::to_string(getpid()));
  void SetUp() override {
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }
  void write(const char* name, const std::string& text) {
    AtomicFile file(dir_ / name);
    file.write(text);
    file.commit();
  }
  TokenizerSpec spec(const char* model_type, const char* config = "") {
    return *tokenizer_spec_from_hf_folder(dir_, model_type, config);
  }
};

TEST_F(HfFolder, WithoutATokenizerIsNothing) {
  EXPECT_FALSE(tokenizer_spec_from_hf_folder(dir_, "gpt2", "").has_value());
}

TEST_F(HfFolder, OptWithoutFurtherFilesBeginsWithItsEndToken) {
  write("vocab.json", fixture_file("bpe/vocab.json"));
  write("merges.txt", fixture_file("bpe/merges.txt"));
  const Tokenizer tokenizer(spec("opt"));
  EXPECT_EQ(tokenizer.encode(""), Ids({2}));
  EXPECT_TRUE(tokenizer.is_end_of_generation(2));
  EXPECT_TRUE(tokenizer.is_control(1));
  EXPECT_EQ(Tokenizer(spec("gpt2")).encode(""), Ids());
  EXPECT_EQ(spec("qwen2").pre, "qwen2");
  EXPECT_EQ(Tokenizer(spec("roberta", R"({"bos_token_id": 0, "eos_token_id": 2})")).encode(""), Ids({0, 2}));
}

TEST_F(HfFolder, CompanionFilesNameTokensRulesAndTheTemplate) {
  write("vocab.json", fixture_file("bpe/vocab.json"));
  write("merges.txt", fixture_file("bpe/merges.txt"));
  const int64_t n = static_cast<int64_t>(Json::parse(fixture_file("bpe/vocab.json")).size());
  write("added_tokens.json", Json({{"<|im_end|>", n}, {"<|im_start|>", n + 1}}).dump());
  Json config = {{"eos_token", {{"content", "<|im_end|>"}}}, {"bos_token", nullptr}, {"add_bos_token", false}};
  config["added_tokens_decoder"][std::to_string(n + 2)] = {{"content", "<tool>"}, {"special", false}, {"lstrip", true}};
  config["chat_template"] =
      Json::array({{{"name", "rag"}, {"template", "R"}}, {{"name", "default"}, {"template", "D"}}});
  write("tokenizer_config.json", config.dump());
  write("generation_config.json", Json({{"eos_token_id", {n, 2}}}).dump());
  const TokenizerSpec s = spec("qwen2", R"({"bos_token_id": 0})");
  EXPECT_EQ(s.eos, n);
  EXPECT_EQ(s.bos, 0);
  EXPECT_FALSE(s.add_bos);
  EXPECT_EQ(s.extra_eog, Ids({2}));
  EXPECT_EQ(s.types.at(static_cast<size_t>(n) + 1), TokenType::kControl);
  EXPECT_EQ(s.types.at(static_cast<size_t>(n) + 2), TokenType::kUserDefined);
  EXPECT_EQ(s.reaches.size(), 1u);
  EXPECT_EQ(s.chat_template, "D");
  write("chat_template.jinja", "J");
  EXPECT_EQ(spec("qwen2").chat_template, "J");
}

TEST_F(HfFolder, SentencePieceFollowsItsClass) {
  write("tokenizer.model", fixture_file("spm/tokenizer.model"));
  EXPECT_TRUE(spec("llama").add_bos);
  EXPECT_FALSE(spec("llama").prefix_first_only);
  write("tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true, "legacy": false})");
  const TokenizerSpec s = spec("llama");
  EXPECT_FALSE(s.add_bos);
  EXPECT_TRUE(s.add_eos);
  EXPECT_TRUE(s.prefix_first_only);
}

TEST_F(HfFolder, ErrorsNameTheFolderAndTheFile) {
  write("vocab.json", fixture_file("bpe/vocab.json"));
  EXPECT_NE(error_of(ErrorKind::kNotFound, [&] { spec("gpt2"); }).find("merges.txt"), std::string::npos);
  write("tokenizer.json", "{\"model\":");
  const std::string message = error_of(ErrorKind::kFormat, [&] { spec("gpt2"); });
  EXPECT_NE(message.find("tokenizer.json"), std::string::npos);
  EXPECT_NE(message.find(dir_.string()), std::string::npos);
  write("tokenizer.json", tiny_json().dump());
  write("tokenizer_config.json", "[1]");
  EXPECT_NE(error_of(ErrorKind::kFormat, [&] { spec("gpt2"); }).find("tokenizer_config.json"), std::string::npos);
}

}  // namespace
}  // namespace hunch
