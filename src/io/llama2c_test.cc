#include "io/llama2c.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {

// dim 8, hidden 6, 2 layers, 2 heads of 4, 1 key/value head, 5 tokens, context 3.
struct TinyModel {
  int32_t dim = 8, hidden = 6, layers = 2, heads = 2, kv_heads = 1, vocab = 5, context = 3;
  // Floats that the header above needs, the untied head's own not counted.
  static constexpr int kFloats = 5 * 8 + 2 * (8 + 64 + 32 + 32 + 64 + 8 + 48 + 48 + 48) + 8 + 2 * 3 * 2;

  std::string bytes(int n_floats = kFloats) const {
    ByteBuilder out;
    for (int32_t value : {dim, hidden, layers, heads, kv_heads, vocab, context}) out.i32(value);
    for (int i = 0; i < n_floats; ++i) out.f32(float(i));
    return out.bytes;
  }
};

std::string tiny_tokenizer(const std::vector<std::string>& pieces = {"<unk>", "\n<s>\n", "\n</s>\n", "<0x00>",
                                                                     " a b"}) {
  ByteBuilder out;
  out.i32(7);
  for (size_t i = 0; i < pieces.size(); ++i) out.f32(-float(i)).i32(int32_t(pieces[i].size())).raw(pieces[i]);
  return out.bytes;
}

ModelFile parse(const std::string& model, const std::string& tokenizer = "") {
  return parse_llama2c(as_byte_span(model), as_byte_span(tokenizer));
}

// The first element of a tensor; elements count up through the file.
int first(const ModelFile& model, const char* name) {
  float value;
  std::memcpy(&value, model.get(name).data.data(), sizeof(value));
  return int(value);
}

TEST(Llama2c, TakesWeightsInTheOrderOfTheFile) {
  const std::string bytes = TinyModel{}.bytes();
  const ModelFile model = parse(bytes);
  EXPECT_EQ(model.tensors.size(), 2u + 2 * 9);
  EXPECT_EQ(first(model, "token_embd.weight"), 0);
  EXPECT_EQ(first(model, "blk.0.attn_norm.weight"), 40);
  EXPECT_EQ(first(model, "blk.1.attn_norm.weight"), 48);
  EXPECT_EQ(first(model, "blk.0.attn_q.weight"), 56);
  EXPECT_EQ(first(model, "blk.1.attn_k.weight"), 56 + 128 + 32);
  EXPECT_EQ(first(model, "blk.0.attn_v.weight"), 56 + 128 + 64);
  EXPECT_EQ(first(model, "blk.0.attn_output.weight"), 312);
  EXPECT_EQ(first(model, "blk.0.ffn_norm.weight"), 440);
  EXPECT_EQ(first(model, "blk.0.ffn_gate.weight"), 456);
  EXPECT_EQ(first(model, "blk.0.ffn_down.weight"), 552);
  EXPECT_EQ(first(model, "blk.0.ffn_up.weight"), 648);
  EXPECT_EQ(first(model, "output_norm.weight"), 744);
  EXPECT_EQ(model.get("blk.1.ffn_down.weight").shape, (std::vector<uint64_t>{8, 6}));
  EXPECT_EQ(model.get("blk.1.attn_k.weight").shape, (std::vector<uint64_t>{4, 8}));
  EXPECT_EQ(model.find("output.weight"), nullptr);
  EXPECT_EQ(model.meta.get_uint("llama.rope.dimension_count"), 4u);
  EXPECT_EQ(model.meta.get_uint("llama.context_length"), 3u);
  EXPECT_FALSE(model.meta.has("tokenizer.ggml.tokens"));
}

TEST(Llama2c, ANegativeVocabularySizeMeansAnUntiedHead) {
  const std::string bytes = TinyModel{.vocab = -5}.bytes(TinyModel::kFloats + 40);
  const ModelFile model = parse(bytes);
  EXPECT_EQ(first(model, "output.weight"), TinyModel::kFloats);
  EXPECT_EQ(model.get("output.weight").shape, (std::vector<uint64_t>{5, 8}));
}

TEST(Llama2c, TokensBecomeGgufTokens) {
  const ModelFile model = parse(TinyModel{}.bytes(), tiny_tokenizer());
  EXPECT_EQ(model.meta.get_strings("tokenizer.ggml.tokens"), (std::vector<std::string>{"<unk>", "<s>", "</s>", "<0x00>",
                                                                                       "\xe2\x96\x81"
                                                                                       "a\xe2\x96\x81"
                                                                                       "b"}));
  EXPECT_EQ(model.meta.get_ints("tokenizer.ggml.token_type"), (std::vector<int64_t>{2, 3, 3, 6, 1}));
  EXPECT_EQ(model.meta.get_floats("tokenizer.ggml.scores"), (std::vector<float>{0, -1, -2, -3, -4}));
  EXPECT_EQ(model.meta.get_uint("tokenizer.ggml.bos_token_id"), 1u);
  EXPECT_TRUE(model.meta.get_bool("tokenizer.ggml.add_space_prefix"));
}

TEST(Llama2c, RefusesEveryTruncation) {
  const std::string model = TinyModel{}.bytes(), tokenizer = tiny_tokenizer();
  for (size_t n = 0; n < model.size(); ++n) EXPECT_THROW(parse(model.substr(0, n)), Error) << n;
  for (size_t n = 1; n < tokenizer.size(); ++n) EXPECT_THROW(parse(model, tokenizer.substr(0, n)), Error) << n;
}

TEST(Llama2c, RefusesLiesByName) {
  struct {
    const char* name;
    TinyModel model;
    ErrorKind kind;
    const char* message;
  } const lies[] = {
      {"zero dim", {.dim = 0}, ErrorKind::kFormat, "the embedding size is 0"},
      {"negative hidden", {.hidden = -6}, ErrorKind::kFormat, "the hidden size is -6"},
      {"no layers", {.layers = 0}, ErrorKind::kFormat, "the layer count is 0"},
      {"no heads", {.heads = 0}, ErrorKind::kFormat, "the head count is 0"},
      {"no kv heads", {.kv_heads = 0}, ErrorKind::kFormat, "the key/value head count is 0"},
      {"no vocabulary", {.vocab = 0}, ErrorKind::kFormat, "the vocabulary size is 0"},
      {"least vocabulary", {.vocab = INT32_MIN}, ErrorKind::kFormat, "the vocabulary size is -2147483648"},
      {"no context", {.context = 0}, ErrorKind::kFormat, "the sequence length is 0"},
      {"heads that do not divide", {.heads = 3}, ErrorKind::kFormat, "do not go together"},
      {"odd heads", {.heads = 8}, ErrorKind::kFormat, "do not go together"},
      {"more kv heads", {.kv_heads = 4}, ErrorKind::kFormat, "do not go together"},
      {"too small", {.layers = 3}, ErrorKind::kFormat, "bytes of weights"},
      {"too large", {.layers = 1}, ErrorKind::kFormat, "bytes of weights"},
      {"huge", {.dim = 1 << 30, .hidden = INT32_MAX, .layers = INT32_MAX}, ErrorKind::kFormat, "more than 2^64"},
      {"version 1", {.dim = 0x616b3432}, ErrorKind::kUnsupported, "--version 0"},
  };
  for (const auto& lie : lies) {
    SCOPED_TRACE(lie.name);
    const std::string message = message_of(lie.kind, [&] { parse(lie.model.bytes()); });
    EXPECT_NE(message.find(lie.message), std::string::npos) << message;
  }
}

TEST(Llama2c, RefusesATokenizerOfAnotherModel) {
  const std::string model = TinyModel{}.bytes();
  const auto message = [&](const std::string& tokenizer) {
    return message_of(ErrorKind::kFormat, [&] { parse(model, tokenizer); });
  };
  EXPECT_NE(message(tiny_tokenizer({"a", "b", "c", "d", "e", "f"})).find("does it belong"), std::string::npos);
  EXPECT_NE(message(ByteBuilder{}.i32(7).f32(0).i32(-1).raw(std::string(80, 'x')).bytes).find("token 0 has -1 bytes"),
            std::string::npos);
  EXPECT_NE(message(ByteBuilder{}.i32(7).f32(0).i32(INT32_MAX).raw(std::string(80, 'x')).bytes).find("truncated"),
            std::string::npos);
}

// The same model, published in both formats. The GGUF stores the tied head a second time, and a
// shorter context than the model was trained at.
TEST(Llama2c, SharedStoriesModelEqualsItsGguf) {
  const auto shared = shared_path("models/stories260K");
  if (!shared) GTEST_SKIP() << "no shared data: stories260K.bin was not read";
  const auto dir = *shared;
  const MappedFile bin(dir / "stories260K.bin"), tokens(dir / "tok512.bin");
  const ModelFile got = parse_llama2c(bin.bytes(), tokens.bytes());
  const ModelFile want = open_gguf(dir / "stories260K.gguf");
  for (const Tensor& tensor : want.tensors) {
    const bool tied = tensor.name == "output.weight";
    const Tensor& mine = got.get(tied ? "token_embd.weight" : tensor.name);
    EXPECT_EQ(mine.shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(as_text(mine.data) == as_text(tensor.data)) << tensor.name;
  }
  EXPECT_EQ(got.tensors.size() + 1, want.tensors.size());
  for (const std::string& key : want.meta.keys()) {
    SCOPED_TRACE(key);
    if (key == "general.name" || key.ends_with("_token_id") || key == "llama.context_length") continue;
    if (key.ends_with("epsilon")) {
      EXPECT_EQ(got.meta.get_float(key), want.meta.get_float(key));
    } else if (key.ends_with("token_type")) {
      EXPECT_EQ(got.meta.get_ints(key), want.meta.get_ints(key));
    } else {
      EXPECT_TRUE(*got.meta.find(key) == *want.meta.find(key));
    }
  }
  EXPECT_EQ(got.meta.get_uint("llama.context_length"), 512u);
}

}  // namespace
}  // namespace hunch
