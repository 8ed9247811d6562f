// How a byte-level BPE tokenizer cuts a text before merging. The families differ in their patterns
// only; GGUF names them in tokenizer.ggml.pre, tokenizer.json spells them out.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace hunch {

// A named family. The patterns are applied in order: each cuts what the ones before it left whole.
struct PreTokenizerFamily {
  std::string_view name;  // as in tokenizer.ggml.pre; the first family with given patterns is their name
  std::vector<std::string> patterns;
  bool ignore_merges = false;  // a word that is in the vocabulary is taken whole
  bool add_bos = false;        // where the file does not say
  bool nfc = false;            // the family's own tokenizer.json normalises to NFC
};

// Patterns that tokenizer.json's ByteLevel, Punctuation and Digits stand for.
extern const std::string_view kGpt2Pattern;
extern const std::string_view kPunctuationSet;

// The family of that name. Throws Error{kUnsupported} naming it and listing the known ones.
// "" is "gpt-2".
const PreTokenizerFamily& pre_tokenizer_family(std::string_view name);

// The family with these patterns: the first that agrees in ignore_merges and nfc too, else the first in
// patterns alone, else nullptr. Patterns may be written with characters or with escapes.
const PreTokenizerFamily* find_pre_tokenizer_family(std::span<const std::string> patterns, bool ignore_merges,
                                                    bool nfc);

class PreTokenizer {
 public:
  // Throws Error{kUnsupported} for a pattern that cannot be compiled.
  explicit PreTokenizer(std::span<const std::string> patterns);

  // The words of `text` (valid UTF-8), which together are the text. Throws Error{kLimit}, see Regex.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  std::vector<Regex> regexes_;
};

}  // namespace hunch
