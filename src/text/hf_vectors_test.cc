// Published encodings of Hugging Face tokenizers, and agreement between the forms in which one
// tokenizer is published. The files lie in the shared data set; without it the tests are skipped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/gguf.h"
#include "text/hf_tokenizer.h"
#include "text/sentencepiece_model.h"
#include "text/tiktoken.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

#define NEED_SHARED(dir)                                                \
  const auto shared_ = shared_path("tokenizers");                       \
  if (!shared_) GTEST_SKIP() << "no shared data: published tokenizers"; \
  const fs::path dir = *shared_

Tokenizer from_folder(const fs::path& folder, const std::string& model_type, const std::string& config = "") {
  return Tokenizer(*tokenizer_spec_from_hf_folder(folder, model_type, config));
}

Tokenizer from_gguf(const fs::path& path) { return Tokenizer(tokenizer_spec_from_gguf(open_gguf(path).meta)); }

// The tokenizer that a set of swift-encoded vectors was made with, where it is among the shared files.
std::optional<Tokenizer> tokenizer_named(const fs::path& dir, const std::string& name) {
  if (name == "distilgpt2") return from_folder(dir / "gpt2", "gpt2");
  if (name.find("Llama-2-7b") != std::string::npos) return from_folder(dir / "llama2", "llama");
  // bge's vocabulary is that of BERT.
  if (name.ends_with("bert-base-uncased")) return from_gguf(dir / "ggml-vocab" / "ggml-vocab-bert-bge.gguf");
  if (name.find("falcon-7b") != std::string::npos) return from_folder(dir / "falcon", "falcon");
  if (name.find("Llama-3.2") != std::string::npos) {
    return Tokenizer(parse_tiktoken(read_file(dir / "llama3" / "tokenizer.model.tiktoken")));
  }
  return std::nullopt;
}

TEST(SwiftVectors, EncodeAndDecodeAsPublished) {
  NEED_SHARED(dir);
  const Json all = Json::parse(read_file(dir / "swift-encoded" / "tokenizer_tests.json"));
  int n_checked = 0;
  for (const auto& [name, cases] : all.items()) {
    const std::optional<Tokenizer> tokenizer = tokenizer_named(dir, name);
    if (!tokenizer) {
      std::cout << "skipped, no tokenizer file at hand: " << name << "\n";
      continue;
    }
    for (const Json& c : cases) {
      const std::string input = c.at("input");
      const std::vector<int32_t> ids = c.at("encoded").at("input_ids");
      EXPECT_EQ(tokenizer->encode(input), ids) << name << ": " << input;
      const bool lossy = tokenizer->spec().kind == TokenizerKind::kWordPiece;
      const std::string back = lossy ? c.at("decoded_without_special").get<std::string>() : input;
      EXPECT_EQ(tokenizer->decode(ids, true), back) << name;
      ++n_checked;
    }
  }
  EXPECT_EQ(n_checked, 109);
}

TEST(SwiftVectors, TheLongTextIsEncodedAsPublished) {
  NEED_SHARED(dir);
  const std::pair<const char*, const char*> files[] = {{"gpt2_encoded_tokens.json", "distilgpt2"},
                                                       {"falcon_encoded.json", "falcon-7b"},
                                                       {"llama_encoded.json", "Llama-2-7b"},
                                                       {"llama_3.2_encoded.json", "Llama-3.2"}};
  for (const auto& [file, name] : files) {
    const Json c = Json::parse(read_file(dir / "swift-encoded" / file));
    const Tokenizer tokenizer = *tokenizer_named(dir, name);
    const std::vector<int32_t> ids = c.at("token_ids");
    EXPECT_EQ(tokenizer.encode(c.at("text").get<std::string>()), ids) << name;
    EXPECT_EQ(tokenizer.decode(ids, true), c.at("text").get<std::string>()) << name;
    const bool has_bos = tokenizer.spec().add_bos;
    const std::vector<std::string> pieces = c.at("bpe_tokens");
    ASSERT_EQ(pieces.size() + (has_bos ? 1 : 0), ids.size());
    for (size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(tokenizer.find(pieces[i]), ids[i + (has_bos ? 1 : 0)]);
  }
}

TEST(SwiftVectors, TheLongTextIsCutByWordPieceAsPublished) {
  NEED_SHARED(dir);
  const Json c = Json::parse(read_file(dir / "swift-encoded" / "bert_uncased_encoded.json"));
  const Tokenizer tokenizer = *tokenizer_named(dir, "bert-base-uncased");
  const std::vector<int32_t> ids = c.at("token_ids");
  EXPECT_EQ(tokenizer.encode(c.at("text").get<std::string>()), ids);
  EXPECT_EQ("[CLS] " + tokenizer.decode(ids, true) + " [SEP]", c.at("decoded_text").get<std::string>());
  const std::vector<std::string> pieces = c.at("bpe_tokens");
  ASSERT_EQ(pieces.size() + 2, ids.size());
  for (size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(tokenizer.find(pieces[i]), ids[i + 1]);
}

std::vector<std::string> sample_texts(const fs::path& tokenizers) {
  std::vector<std::string> texts = {
      "", " ", "a", "aaaaaaaaaaaa", "Hello  world   !", "\xf0\x9f\x9a\x80 x\xe2\x80\x8dy 12345 \t\n\n z"};
  texts.push_back(read_file(tokenizers / "ggml-vocab" / "ggml-vocab-gpt-2.gguf.inp"));
  const fs::path corpus = tokenizers / ".." / "corpus" / "val.txt";
  if (fs::exists(corpus)) texts.push_back(read_file(corpus).substr(0, 100000));
  return texts;
}

void expect_agreement(const Tokenizer& a, const Tokenizer& b, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) EXPECT_EQ(a.encode(text, kPlain), b.encode(text, kPlain)) << text.substr(0, 60);
}

TEST(HfFolders, AgreeWithTheGgufVocabularyOfTheSameModel) {
  NEED_SHARED(dir);
  const std::pair<const char*, const char*> pairs[] = {
      {"gpt2", "gpt-2"}, {"falcon", "falcon"}, {"gpt-neox", "gpt-neox"}, {"llama2", "llama-spm"}};
  for (const auto& [folder, vocab] : pairs) {
    SCOPED_TRACE(folder);
    const Tokenizer hf = from_folder(dir / folder, "");
    const Tokenizer gguf = from_gguf(dir / "ggml-vocab" / ("ggml-vocab-" + std::string(vocab) + ".gguf"));
    expect_agreement(hf, gguf, sample_texts(dir));
    for (size_t id = 0; id < hf.n_vocab(); ++id) {
      const auto i = static_cast<int32_t>(id);
      EXPECT_EQ(hf.spec().pieces[id], gguf.spec().pieces[id]);
      EXPECT_EQ(hf.piece(i), gguf.piece(i)) << id;
      EXPECT_EQ(hf.is_control(i), gguf.is_control(i)) << id;
    }
  }
}

class TempFolder {
 public:
  TempFolder() : path_(fs::temp_directory_path() / ("hunch_hf_tokenizer" + std::to_string(getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TempFolder() { fs::remove_all(path_); }
  void take(const fs::path& from, const std::string& name) { fs::copy_file(from, path_ / name); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(Llama2, MergesAndScoresGiveTheSameIds) {
  NEED_SHARED(dir);
  TempFolder folder;
  folder.take(dir / "llama2" / "tokenizer.model", "tokenizer.model");
  folder.take(dir / "llama2" / "tokenizer_config.json", "tokenizer_config.json");
  const Tokenizer scores = from_folder(folder.path(), "llama"), merges = from_folder(dir / "llama2", "llama");
  EXPECT_TRUE(scores.spec().merges.empty());
  EXPECT_FALSE(merges.spec().merges.empty());
  expect_agreement(scores, merges, sample_texts(dir));
  EXPECT_EQ(scores.encode("Hello"), merges.encode("Hello"));
  EXPECT_EQ(scores.encode("Hello")[0], 1);
  // Scores derived from the merges, for GGUF, rank alike.
  TokenizerSpec derived = merges.spec();
  derived.merges.clear();
  expect_agreement(scores, Tokenizer(derived), sample_texts(dir));
}

TEST(Gpt2, JsonAndVocabWithMergesAreOneTokenizer) {
  NEED_SHARED(dir);
  TempFolder folder;
  folder.take(dir / "gpt2" / "vocab.json", "vocab.json");
  folder.take(dir / "gpt2" / "merges.txt", "merges.txt");
  const Tokenizer files = from_folder(folder.path(), "gpt2", R"({"bos_token_id": 50256, "eos_token_id": 50256})");
  const Tokenizer json = from_folder(dir / "gpt2", "gpt2", R"({"bos_token_id": 50256, "eos_token_id": 50256})");
  expect_agreement(files, json, sample_texts(dir));
  EXPECT_TRUE(files.spec() == json.spec());
  EXPECT_EQ(files.encode("Hello"), std::vector<int32_t>({15496}));
}

TEST(Opt, BeginsWithItsEndToken) {
  NEED_SHARED(dir);
  const Tokenizer opt = from_folder(dir / "opt", "opt", R"({"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1})");
  // From the documentation of OPT in the transformers library: "Hello" is ids 2, 31414.
  EXPECT_EQ(opt.encode("Hello"), std::vector<int32_t>({2, 31414}));
  EXPECT_EQ(opt.spec().pad, 1);
  EXPECT_TRUE(opt.is_end_of_generation(2));
  EXPECT_TRUE(opt.is_control(0));
  EXPECT_EQ(opt.decode(opt.encode("Hello there"), true), "Hello there");
  EXPECT_EQ(opt.spec().pre, "gpt-2");
}

TEST(HfFolders, EachIsRecognised) {
  NEED_SHARED(dir);
  EXPECT_EQ(from_folder(dir / "gpt2", "gpt2").spec().pre, "gpt-2");
  EXPECT_EQ(from_folder(dir / "falcon", "falcon").spec().pre, "falcon");
  const Tokenizer neox = from_folder(dir / "gpt-neox", "gpt_neox");
  EXPECT_EQ(neox.spec().pre, "gpt-2");
  EXPECT_TRUE(neox.spec().nfc);
  const Tokenizer phi2 = from_folder(dir / "phi-2", "phi");
  EXPECT_EQ(phi2.encode("\n        return", kPlain)[1], phi2.find("        "));  // a run of spaces is one token
  EXPECT_EQ(from_folder(dir / "gpt-j", "gptj").n_vocab(), 50400u);
  EXPECT_FALSE(from_folder(dir / "tinyllama", "llama").spec().chat_template.empty());
}

TEST(Phi3, SpecialTokensSwallowTheSpaceAfterThem) {
  NEED_SHARED(dir);
  const Tokenizer phi3 = from_folder(dir / "phi-3-mini", "phi3");
  const std::vector<int32_t> want = {32010, 15043, 32007};
  EXPECT_EQ(phi3.encode("<|user|>\nHello<|end|>\n", {.add_special = true, .parse_special = true}), want);
  EXPECT_NE(phi3.encode("<|user|>")[0], 32010);
  EXPECT_TRUE(phi3.is_end_of_generation(32007));
}

TEST(SentencePieceFiles, RoundTripAndAgreeWithGguf) {
  NEED_SHARED(dir);
  const fs::path models[] = {dir / "llama2" / "tokenizer.model", dir / "mistral" / "tokenizer.model.v1",
                             dir / "mistral" / "mistral_instruct_tokenizer_240216.model.v2",
                             dir / "mistral" / "mistral_instruct_tokenizer_240323.model.v3",
                             dir / ".." / "models" / "stories260K" / "tok512.model"};
  for (const fs::path& path : models) {
    SCOPED_TRACE(path.string());
    TokenizerSpec spec = parse_sentencepiece_model(read_file(path));
    spec.remove_extra_whitespaces = false;  // tok512 has it on, and would not give back runs of spaces
    const Tokenizer tokenizer(spec);
    for (const std::string& text : sample_texts(dir)) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, kPlain)), text);
    Metadata meta;
    write_tokenizer_to_gguf(tokenizer.spec(), meta);
    EXPECT_TRUE(tokenizer_spec_from_gguf(meta) == tokenizer.spec());
  }
}

TEST(Stories260K, SpellsItsPublishedText) {
  NEED_SHARED(dir);
  const fs::path folder = dir / ".." / "models" / "stories260K";
  const Tokenizer gguf = from_gguf(folder / "stories260K.gguf");
  TokenizerSpec own = parse_sentencepiece_model(read_file(folder / "tok512.model"));
  EXPECT_TRUE(own.remove_extra_whitespaces);
  own.remove_extra_whitespaces = false;  // the GGUF file does not say so
  expect_agreement(gguf, Tokenizer(own), sample_texts(dir));
  const Json reference = Json::parse(read_file(folder / "reference.json"));
  const std::vector<int32_t> ids = reference.at("ids");
  std::string text = read_file(folder / "expected_greedy_200.txt");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  EXPECT_EQ(gguf.decode(ids, true).substr(0, text.size()), text);
  EXPECT_EQ(gguf.encode(gguf.decode(ids, true)), ids);
}

TEST(HfFolders, ASpecWrittenToGgufIsTheSpecReadBack) {
  NEED_SHARED(dir);
  for (const char* folder :
       {"gpt2", "falcon", "gpt-neox", "llama2", "phi-2", "phi-3-mini", "tinyllama", "gpt-j", "opt"}) {
    TokenizerSpec spec = *tokenizer_spec_from_hf_folder(dir / folder, folder, "");
    Metadata meta;
    write_tokenizer_to_gguf(spec, meta);
    EXPECT_TRUE(tokenizer_spec_from_gguf(meta) == spec) << folder;
  }
}

}  // namespace
}  // namespace hunch
