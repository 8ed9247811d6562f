// Text to token ids and back. One immutable Tokenizer per model, safe to share between threads.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

enum class TokenizerKind { kByteBpe, kSentencePieceBpe, kUnigram, kWordPiece };
// What a vocabulary entry is; the numbers are GGUF's tokenizer.ggml.token_type.
enum class TokenType : int32_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // <s>, <|im_end|>: found in a text only on request
  kUserDefined = 4,  // always found in a text; the piece is plain text
  kUnused = 5,
  kByte = 6,  // "<0x0A>"
};

// One step of what is done to a text before it is split (Hugging Face's "normalizer").
struct NormalizerStep {
  enum class Kind : int32_t {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,
    kStripLeft,
    kStripRight,
    kReplace,
    kReplaceRegex,
    // BERT's (text/wordpiece.h):
    kCleanText,     // control characters and U+FFFD go, white space becomes spaces
    kSpaceChinese,  // spaces around Chinese characters
    kStripAccents,  // NFD without its nonspacing marks
  };
  static constexpr int kNKinds = int(Kind::kStripAccents) + 1;
  Kind kind = Kind::kNfc;
  std::string from, to;  // kReplace: a string; kReplaceRegex: a pattern (`to` is literal)
  bool operator==(const NormalizerStep&) const = default;
};

// How far an added token reaches when it is found in a text.
struct TokenReach {
  int32_t id = 0;
  bool lstrip = false, rstrip = false;  // swallows the white space before / after it
  bool single_word = false;             // only where no letter or digit touches it
  // SentencePiece: found in the text as it was typed, and what follows begins anew with the space prefix.
  // Other user-defined tokens are found after normalisation, where U+2581 stands for spaces.
  bool verbatim = false;
  bool operator==(const TokenReach&) const = default;
};

// Everything that defines a tokenizer, whatever file it was read from.
struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteBpe;
  std::string pre;  // GGUF's tokenizer.ggml.pre: "gpt-2", "llama-bpe", "qwen2", ...; byte BPE only
  // Pre-tokeniser taken from a tokenizer.json that is none of the named ones: regular expressions
  // applied in order (each splits what the former left). Empty = by `pre`. With SentencePiece they see
  // the text with U+2581 for spaces.
  std::vector<std::string> pre_patterns;
  std::vector<std::string>
      pieces;                    // [n_vocab] as stored (byte-level BPE: in GPT-2's byte alphabet; WordPiece: with ##)
  std::vector<float> scores;     // [n_vocab] SentencePiece; empty otherwise
  std::vector<TokenType> types;  // [n_vocab]
  std::vector<std::string> merges;  // "left right", best first; byte BPE (and SentencePiece read from tokenizer.json)
  std::optional<int32_t> bos, eos, unk, pad, eot;
  std::vector<int32_t> extra_eog;         // further end-of-generation ids (generation_config's list)
  bool add_bos = false, add_eos = false;  // of WordPiece these are [CLS] and [SEP]
  size_t max_word_chars = 100;            // WordPiece: a longer word is unknown
  bool add_space_prefix = false;          // SentencePiece: a space before the text
  bool remove_extra_whitespaces = false;
  bool byte_fallback = false;
  bool ignore_merges = false;               // llama-3: a word that is in the vocabulary is taken whole
  bool nfc = false;                         // normalise to NFC first (Qwen2)
  bool prefix_first_only = false;           // the space prefix only at the start, not after each special token
  bool prefix_unless_space = false;         // no space prefix before a space; byte BPE always goes by this
  std::string charsmap;                     // SentencePiece's precompiled_charsmap; empty = identity
  std::vector<NormalizerStep> normalizers;  // applied in order, after `nfc` and `charsmap`
  std::vector<TokenReach> reaches;          // only of the added tokens for which a flag is set
  std::string chat_template;                // Jinja source; empty when the model has none
  std::string note;  // what was assumed where the file is silent, for the user to see; else empty
  bool operator==(const TokenizerSpec&) const = default;
};

// Fills the vocabulary up to `n_vocab` with unused entries "[PADn]", as a model whose embedding has
// more rows than its tokenizer has tokens needs. Does nothing when it is large enough already.
void pad_vocabulary(TokenizerSpec& spec, size_t n_vocab);

// Leaves out the last entries, of ids from n_vocab on, as a model needs whose embedding has no rows for tokens that
// were added later: their texts are then cut like others. False, and nothing is changed, where one of them is no added
// token (control or user-defined), or begins or ends texts.
bool drop_added_tokens(TokenizerSpec& spec, size_t n_vocab);

// From GGUF metadata (tokenizer.ggml.*), and back into it. Throws Error{kNotFound} without a
// tokenizer, Error{kUnsupported} for other models, Error{kFormat} for lying lengths.
TokenizerSpec tokenizer_spec_from_gguf(const Metadata& meta);
void write_tokenizer_to_gguf(const TokenizerSpec& spec, Metadata& meta);

struct EncodeOptions {
  bool add_special = true;     // BOS / EOS as the model's family wants them; no second BOS before one in the text
  bool parse_special = false;  // "<|endoftext|>" in the text becomes the control token, not its letters
  const Stop* stop = nullptr;  // ends a long text with Error{kInterrupted}
};

class StreamDecoder;

class Tokenizer {
 public:
  // Builds the lookup tables. Throws Error{kFormat} when the spec contradicts itself.
  explicit Tokenizer(TokenizerSpec spec);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  const TokenizerSpec& spec() const;
  size_t n_vocab() const;

  // Invalid UTF-8 is encoded byte by byte (byte BPE, byte fallback) or as unk, and never throws; a byte
  // that the vocabulary cannot express becomes unk, or U+FFFD where there is no unk. Throws Error{kLimit}
  // only when a pre-tokeniser's pattern exceeds the regular expression engine's limits.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of the ids. `skip_special` leaves control tokens out. Ids outside the vocabulary throw
  // Error{kUsage}. With SentencePiece's space prefix, the first token's leading space is removed. WordPiece forgets
  // what stood between words: these come out with a space between, and punctuation as transformers sets it.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The bytes that one token adds in the middle of a text (may be half a UTF-8 character).
  std::string_view piece(int32_t id) const;
  bool is_control(int32_t id) const;
  // True for EOS, EOT and the other ids that end an answer.
  bool is_end_of_generation(int32_t id) const;
  // The id whose stored piece (or special-token text) is exactly `piece`.
  std::optional<int32_t> find(std::string_view piece) const;

 private:
  friend class StreamDecoder;
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Turns a stream of ids into text: holds bytes back until they form whole UTF-8 characters.
class StreamDecoder {
 public:
  // `at_start` is false when the ids continue a text (a generation after its prompt): then the first
  // token keeps the space that it begins with. The tokenizer outlives the decoder.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true, bool at_start = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special), at_start_(at_start) {}
  // The text that became complete with this id; often empty in the middle of a character. Bytes that
  // can no longer become a character come out as U+FFFD. Throws Error{kUsage} as decode does.
  std::string push(int32_t id);
  // What is left, with each incomplete or invalid sequence as U+FFFD.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_, at_start_;
  std::string pending_;
};

}  // namespace hunch
