// Published vectors: GGUF vocabularies with texts and the ids that their own tokenizers give. They
// lie in the shared data set; without it these tests say so and are skipped.
#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/test_paths.h"
#include "io/gguf.h"
#include "text/tokenizer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

std::optional<fs::path> vocab_path(const std::string& name) {
  return shared_path("tokenizers/ggml-vocab/ggml-vocab-" + name + ".gguf");
}

std::vector<std::string> split_inputs(const std::string& text) {
  static const std::string kSeparator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t at; (at = text.find(kSeparator, begin)) != std::string::npos; begin = at + kSeparator.size()) {
    out.push_back(text.substr(begin, at - begin));
  }
  return out;
}

class GgufVocabulary : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufVocabulary, EncodesThePublishedTexts) {
  const auto path = vocab_path(GetParam());
  if (!path) GTEST_SKIP() << "no shared data: vocabulary " << GetParam();
  const Tokenizer tokenizer(tokenizer_spec_from_gguf(open_gguf(*path).meta));
  const std::vector<std::string> inputs = split_inputs(read_file(path->string() + ".inp"));
  std::istringstream expected(read_file(path->string() + ".out"));
  ASSERT_GT(inputs.size(), 40u);
  for (const std::string& input : inputs) {
    std::string line;
    ASSERT_TRUE(std::getline(expected, line));
    std::istringstream numbers(line);
    std::vector<int32_t> want;
    for (int32_t id; numbers >> id;) want.push_back(id);
    EXPECT_EQ(tokenizer.encode(input, kPlain), want) << GetParam() << ": '" << input << "'";
    EXPECT_EQ(tokenizer.decode(want), input);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufVocabulary,
                         ::testing::Values("gpt-2", "falcon", "mpt", "starcoder", "deepseek-coder", "llama-spm"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GgufVocabularies, WithoutVectorsRoundTrip) {
  for (const char* name : {"gpt-neox", "baichuan"}) {
    const auto path = vocab_path(name);
    if (!path) GTEST_SKIP() << "no shared data: vocabulary " << name;
    const Tokenizer tokenizer(tokenizer_spec_from_gguf(open_gguf(*path).meta));
    for (const std::string& text : split_inputs(read_file(vocab_path("gpt-2")->string() + ".inp"))) {
      const auto ids = tokenizer.encode(text, kPlain);
      EXPECT_EQ(tokenizer.decode(ids), text) << name;
      EXPECT_LE(ids.size(), text.size() + 1);
    }
  }
}

// WordPiece forgets spaces, case and accents: only what it encodes can be compared.
TEST(GgufVocabularies, WordPieceEncodesThePublishedTexts) {
  const auto path = vocab_path("bert-bge");
  if (!path) GTEST_SKIP() << "no shared data: vocabulary bert-bge";
  const Tokenizer tokenizer(tokenizer_spec_from_gguf(open_gguf(*path).meta));
  std::istringstream expected(read_file(path->string() + ".out"));
  size_t n = 0;
  for (const std::string& input : split_inputs(read_file(path->string() + ".inp"))) {
    std::string line;
    ASSERT_TRUE(std::getline(expected, line));
    std::istringstream numbers(line);
    std::vector<int32_t> want;
    for (int32_t id; numbers >> id;) want.push_back(id);
    EXPECT_EQ(tokenizer.encode(input, kPlain), want) << "'" << input << "'";
    ++n;
  }
  EXPECT_GT(n, 40u);
}

TEST(GgufVocabularies, ASpecWrittenIsTheSpecReadBack) {
  for (const char* name :
       {"gpt-2", "falcon", "mpt", "starcoder", "deepseek-coder", "llama-spm", "baichuan", "gpt-neox", "bert-bge"}) {
    const auto path = vocab_path(name);
    if (!path) GTEST_SKIP() << "no shared data: vocabulary " << name;
    TokenizerSpec spec = tokenizer_spec_from_gguf(open_gguf(*path).meta);
    spec.note.clear();
    Metadata meta;
    write_tokenizer_to_gguf(spec, meta);
    EXPECT_TRUE(tokenizer_spec_from_gguf(meta) == spec) << name;
  }
}

}  // namespace
}  // namespace hunch
