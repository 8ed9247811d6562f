// Text to token ids and back. One immutable Tokenizer per model, safe to share between threads.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_file.h"

namespace hunch {

enum class TokenizerKind { kByteBpe, kSentencePieceBpe, kUnigram };
// What a vocabulary entry is; the numbers are GGUF's tokenizer.ggml.token_type.
enum class TokenType : int32_t { kUndefined = 0, kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// Everything that defines a tokenizer, whatever file it was read from.
struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteBpe;
  std::string pre;  // GGUF's tokenizer.ggml.pre: "gpt-2", "llama-bpe", "qwen2", ...; byte BPE only
  // Pre-tokeniser taken from a tokenizer.json that is none of the named ones: regular expressions
  // applied in order (each splits what the former left). Empty = by `pre`.
  std::vector<std::string> pre_patterns;
  std::vector<std::string> pieces;     // [n_vocab] as stored (byte-level BPE: in GPT-2's byte alphabet)
  std::vector<float> scores;           // [n_vocab] SentencePiece; empty otherwise
  std::vector<TokenType> types;        // [n_vocab]
  std::vector<std::string> merges;     // "left right", best first; byte BPE (and SentencePiece read from tokenizer.json)
  std::optional<int32_t> bos, eos, unk, pad, eot;
  std::vector<int32_t> extra_eog;      // further end-of-generation ids (generation_config's list)
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = false;       // SentencePiece: a space before the text
  bool remove_extra_whitespaces = false;
  bool byte_fallback = false;
  bool ignore_merges = false;          // llama-3: a word that is in the vocabulary is taken whole
  bool nfc = false;                    // normalise to NFC first (Qwen2)
  std::string chat_template;           // Jinja source; empty when the model has none
};

// From GGUF metadata (tokenizer.ggml.*), and back into it. Throws Error{kNotFound} without a
// tokenizer, Error{kUnsupported} for WordPiece and other models, Error{kFormat} for lying lengths.
TokenizerSpec tokenizer_spec_from_gguf(const Metadata& meta);
void write_tokenizer_to_gguf(const TokenizerSpec& spec, Metadata& meta);

struct EncodeOptions {
  bool add_special = true;     // BOS / EOS as the model's family wants them
  bool parse_special = false;  // "<|endoftext|>" in the text becomes the control token, not its letters
};

class Tokenizer {
 public:
  // Builds the lookup tables. Throws Error{kFormat} when the spec contradicts itself.
  explicit Tokenizer(TokenizerSpec spec);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  const TokenizerSpec& spec() const;
  size_t n_vocab() const;

  // Invalid UTF-8 is encoded byte by byte (byte BPE, byte fallback) or as unk; it never throws.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of the ids. `skip_special` leaves control tokens out. Ids outside the vocabulary throw
  // Error{kUsage}. With SentencePiece's space prefix, the first token's leading space is removed.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The bytes that one token adds in the middle of a text (may be half a UTF-8 character).
  std::string_view piece(int32_t id) const;
  bool is_control(int32_t id) const;
  // True for EOS, EOT and the other ids that end an answer.
  bool is_end_of_generation(int32_t id) const;
  // The id whose stored piece (or special-token text) is exactly `piece`.
  std::optional<int32_t> find(std::string_view piece) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Turns a stream of ids into text: holds bytes back until they form whole UTF-8 characters.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}
  // The text that became complete with this id; often empty in the middle of a character.
  std::string push(int32_t id);
  // What is left, with each incomplete or invalid sequence as U+FFFD.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_, at_start_ = true;
  std::string pending_;
};

}  // namespace hunch
