// WordPiece, BERT's way to cut a text (Devlin et al. 2019; the longest match first of Wu et al. 2016, section 4.1):
// words at white space and around punctuation, each word as the longest piece that it begins with, and so on with the
// rest.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace hunch {

// What stands before a piece that goes on with a word, in TokenizerSpec::pieces and in Hugging Face's files.
constexpr std::string_view kContinuation = "##";

class WordPiece {
 public:
  // Of spec.pieces the normal ones. `spec` is not needed later.
  explicit WordPiece(const TokenizerSpec& spec);

  // Appends the ids of `text`, which is normalised and valid UTF-8. A word that the pieces cannot spell, or one of more
  // than spec.max_word_chars characters, is the unknown token as a whole; without such a token it is left out. Throws
  // Error{kInterrupted} when asked to `stop`.
  void encode(std::string_view text, std::vector<int32_t>& out, const Stop* stop = nullptr) const;

 private:
  void encode_word(std::string_view word, std::vector<int32_t>& out) const;

  ByteTrie beginnings_, continuations_;
  std::optional<int32_t> unknown_;
  size_t max_word_chars_;
};

// What BERT's tokenizer does to a text first: control characters away and white space to spaces, Chinese characters
// apart from each other, accents away, lower case.
struct BertNormalizer {
  bool clean_text = true, space_chinese = true, strip_accents = true, lower_case = true;
};
std::vector<NormalizerStep> steps_of(const BertNormalizer& normalizer);
// Of a vocabulary about which no more is known: pieces with capital letters are of one that keeps case and accents.
BertNormalizer guess_bert_normalizer(const TokenizerSpec& spec);

// The vocabulary of a vocab.txt, a piece on each line, with the names that BERT gives its special tokens: "[CLS]"
// begins a text and "[SEP]" ends it. Throws Error{kFormat} for one without "[UNK]", "[CLS]" or "[SEP]".
TokenizerSpec parse_wordpiece_vocab(std::string_view vocab_txt);

// No spaces before full stops, commas and the like, as transformers decodes a text (clean_up_tokenization).
std::string without_detached_punctuation(std::string text);

// GGUF has pieces that begin a word with U+2581 before them, and those that go on with one as they are.
std::string piece_from_gguf(std::string_view piece, TokenType type);
std::string piece_to_gguf(std::string_view piece, TokenType type);

}  // namespace hunch
