#include "io/llama2c.h"

#include "base/checked_math.h"
#include "io/byte_reader.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr uint32_t kNewerMagic = 0x616b3432;  // "ak42": export versions 1 and 2
constexpr float kRmsEps = 1e-5f;              // fixed in run.c
constexpr float kRopeBase = 10000.0f;         // fixed in run.c
constexpr uint32_t kUnk = 0, kBos = 1, kEos = 2;
constexpr uint32_t kFirstByteToken = 3, kLastByteToken = 258;

// tokenizer.ggml.token_type
constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6;

struct Header {
  uint32_t n_embd = 0, n_ff = 0, n_layer = 0, n_head = 0, n_kv_head = 0, n_vocab = 0, n_ctx = 0;
  bool tied_head = true;  // the vocabulary size is stored negative where the classifier has its own weights
  uint32_t d_head() const { return n_embd / n_head; }
  uint32_t n_kv() const { return d_head() * n_kv_head; }
};

Header read_header(ByteReader& in) {
  Header header;
  const auto positive = [&in](const char* what) {
    const int32_t value = in.read<int32_t>(what);
    if (value <= 0)
      fail(ErrorKind::kFormat, "this is not a llama2.c model: {} is {}; expected a positive number", what, value);
    return uint32_t(value);
  };
  header.n_embd = positive("the embedding size");
  if (header.n_embd == kNewerMagic)
    fail(ErrorKind::kUnsupported,
         "this llama2.c model was exported with version 1 or 2; hunch reads the legacy export (export.py --version 0)");
  header.n_ff = positive("the hidden size");
  header.n_layer = positive("the layer count");
  header.n_head = positive("the head count");
  header.n_kv_head = positive("the key/value head count");
  const int32_t n_vocab = in.read<int32_t>("the vocabulary size");
  if (n_vocab == 0 || n_vocab == INT32_MIN)
    fail(ErrorKind::kFormat, "this is not a llama2.c model: the vocabulary size is {}", n_vocab);
  header.tied_head = n_vocab > 0;
  header.n_vocab = uint32_t(n_vocab > 0 ? n_vocab : -n_vocab);
  header.n_ctx = positive("the sequence length");
  if (header.n_embd % header.n_head != 0 || header.d_head() % 2 != 0 || header.n_kv_head > header.n_head ||
      header.n_head % header.n_kv_head != 0)
    fail(ErrorKind::kFormat,
         "this is not a llama2.c model: {} embedding elements, {} heads and {} key/value heads do not go together",
         header.n_embd, header.n_head, header.n_kv_head);
  return header;
}

// One stretch of the file: a tensor, one per layer or a single one. nullptr name: skipped.
struct Part {
  const char* name;
  bool per_layer;
  std::vector<uint64_t> shape;
};

// In run.c's order.
std::vector<Part> parts_of(const Header& h) {
  const uint64_t d = h.n_embd, ff = h.n_ff, kv = h.n_kv(), half = h.d_head() / 2;
  std::vector<Part> parts = {
      {"token_embd", false, {h.n_vocab, d}},
      {"attn_norm", true, {d}},
      {"attn_q", true, {d, d}},
      {"attn_k", true, {kv, d}},
      {"attn_v", true, {kv, d}},
      {"attn_output", true, {d, d}},
      {"ffn_norm", true, {d}},
      {"ffn_gate", true, {ff, d}},
      {"ffn_down", true, {d, ff}},
      {"ffn_up", true, {ff, d}},
      {"output_norm", false, {d}},
      {nullptr, false, {h.n_ctx, half}},  // cosines, which run.c no longer reads either
      {nullptr, false, {h.n_ctx, half}},  // sines
  };
  if (!h.tied_head) parts.push_back({"output", false, {h.n_vocab, d}});
  return parts;
}

// Bytes of one tensor of `part`; all factors are below 2^31, so two of them and a float fit.
uint64_t bytes_of(const Part& part) {
  uint64_t n = sizeof(float);
  for (uint64_t dim : part.shape) n *= dim;
  return n;
}

void check_size(const Header& header, const std::vector<Part>& parts, uint64_t n_left) {
  std::optional<uint64_t> total = 0;
  for (const Part& part : parts) {
    const auto n = checked_mul(bytes_of(part), part.per_layer ? header.n_layer : 1);
    total = n && total ? checked_add(*total, *n) : std::nullopt;
  }
  if (!total || *total != n_left)
    fail(
        ErrorKind::kFormat,
        "the llama2.c model's header (embedding {}, hidden {}, {} layers, {} heads, {} key/value heads, vocabulary {}, "
        "context {}) needs {} bytes of weights, the file has {}",
        header.n_embd, header.n_ff, header.n_layer, header.n_head, header.n_kv_head, header.n_vocab, header.n_ctx,
        total ? std::to_string(*total) : "more than 2^64", n_left);
}

void read_weights(ByteReader& in, const Header& header, ModelFile& model) {
  const std::vector<Part> parts = parts_of(header);
  check_size(header, parts, in.remaining());
  for (const Part& part : parts) {
    for (uint32_t layer = 0; layer < (part.per_layer ? header.n_layer : 1); ++layer) {
      const auto data = in.take(bytes_of(part), "a weight");
      if (!part.name) continue;
      Tensor tensor;
      tensor.name =
          part.per_layer ? fmt::format("blk.{}.{}.weight", layer, part.name) : fmt::format("{}.weight", part.name);
      tensor.dtype = DType::kF32;
      tensor.shape = part.shape;
      tensor.data = data;
      model.tensors.push_back(std::move(tensor));
    }
  }
}

void describe(const Header& header, Metadata& meta) {
  meta.set("general.architecture", std::string("llama"));
  meta.set("general.name", std::string("llama2.c"));
  meta.set("general.file_type", uint32_t{0});  // all f32
  meta.set("llama.context_length", header.n_ctx);
  meta.set("llama.embedding_length", header.n_embd);
  meta.set("llama.feed_forward_length", header.n_ff);
  meta.set("llama.block_count", header.n_layer);
  meta.set("llama.attention.head_count", header.n_head);
  meta.set("llama.attention.head_count_kv", header.n_kv_head);
  meta.set("llama.attention.layer_norm_rms_epsilon", kRmsEps);
  meta.set("llama.rope.dimension_count", header.d_head());
  meta.set("llama.rope.freq_base", kRopeBase);
  meta.set("llama.vocab_size", header.n_vocab);
}

// The export writes U+2581, SentencePiece's sign for a space, as a space; GGUF keeps the sign.
std::string with_space_sign(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == ' ') {
      out += "\xe2\x96\x81";
    } else {
      out += c;
    }
  }
  return out;
}

void read_tokenizer(std::span<const std::byte> bytes, uint32_t n_vocab, Metadata& meta) {
  ByteReader in(bytes, "llama2.c's tokenizer.bin");
  in.read<int32_t>("the longest token's length");
  in.expect_items(n_vocab, sizeof(float) + sizeof(int32_t), "tokens");
  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<int32_t> types;
  pieces.reserve(n_vocab);
  for (uint32_t id = 0; id < n_vocab; ++id) {
    scores.push_back(in.read<float>("a token's score"));
    const int32_t n = in.read<int32_t>("a token's length");
    if (n < 0) fail(ErrorKind::kFormat, "llama2.c's tokenizer.bin: token {} has {} bytes", id, n);
    const std::string_view text = in.take_text(uint64_t(n), "a token");
    const bool is_byte =
        id >= kFirstByteToken && id <= kLastByteToken && text == fmt::format("<0x{:02X}>", id - kFirstByteToken);
    types.push_back(id == kUnk ? kUnknown : id == kBos || id == kEos ? kControl : is_byte ? kByte : kNormal);
    // The export surrounds BOS and EOS with line breaks, for printing.
    pieces.push_back(id == kUnk ? "<unk>" : id == kBos ? "<s>" : id == kEos ? "</s>" : with_space_sign(text));
  }
  if (in.remaining() != 0)
    fail(ErrorKind::kFormat, "llama2.c's tokenizer.bin has {} bytes after its {} tokens; does it belong to this model?",
         in.remaining(), n_vocab);
  meta.set("tokenizer.ggml.model", std::string("llama"));
  meta.set("tokenizer.ggml.pre", std::string("default"));
  meta.set("tokenizer.ggml.tokens", MetaArray(std::move(pieces)));
  meta.set("tokenizer.ggml.scores", MetaArray(std::move(scores)));
  meta.set("tokenizer.ggml.token_type", MetaArray(std::move(types)));
  meta.set("tokenizer.ggml.unknown_token_id", kUnk);
  meta.set("tokenizer.ggml.bos_token_id", kBos);
  meta.set("tokenizer.ggml.eos_token_id", kEos);
  meta.set("tokenizer.ggml.add_bos_token", true);
  meta.set("tokenizer.ggml.add_eos_token", false);
  meta.set("tokenizer.ggml.add_space_prefix", true);
}

}  // namespace

ModelFile parse_llama2c(std::span<const std::byte> model, std::span<const std::byte> tokenizer) {
  ByteReader in(model, "the llama2.c model");
  const Header header = read_header(in);
  ModelFile out;
  read_weights(in, header, out);
  describe(header, out.meta);
  if (!tokenizer.empty()) read_tokenizer(tokenizer, header.n_vocab, out.meta);
  out.index();
  return out;
}

}  // namespace hunch
