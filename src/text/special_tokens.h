// Finds the tokens that are never made of smaller ones (user-defined and control tokens) in a text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace hunch {

class SpecialTokens {
 public:
  struct Match {
    int32_t id;
    size_t begin, end;  // with the white space that the token swallows
  };

  // `texts[id]` is the text that a token is found by; it and `spec` are not needed after construction.
  SpecialTokens(const TokenizerSpec& spec, const std::vector<std::string>& texts);

  // The tokens in `text` as typed, left to right, the longest at each place: the user-defined ones
  // (SentencePiece: the verbatim ones), and the control tokens only if `control`.
  std::vector<Match> find(std::string_view text, bool control) const {
    return find(text, control ? all_ : user_defined_);
  }

  // SentencePiece: the other user-defined tokens, in a normalised text with U+2581 for spaces.
  std::vector<Match> find_marked(std::string_view text) const { return find(text, marked_); }

 private:
  ByteTrie user_defined_, all_, marked_;
  std::unordered_map<int32_t, TokenReach> reaches_;

  std::vector<Match> find(std::string_view text, const ByteTrie& trie) const;
  bool accepts(int32_t id, std::string_view text, size_t begin, size_t end) const;
  Match reach_of(int32_t id, std::string_view text, size_t begin, size_t end, size_t done) const;
};

}  // namespace hunch
