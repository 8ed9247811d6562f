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

  // `texts[id]` is the text that a token is found by; `texts` and `spec` outlive the constructor only.
  SpecialTokens(const TokenizerSpec& spec, const std::vector<std::string>& texts);

  // The tokens in `text`, left to right, the longest at each place: the user-defined ones, and the
  // control tokens only if `control`.
  std::vector<Match> find(std::string_view text, bool control) const;

 private:
  ByteTrie user_defined_, all_;
  std::unordered_map<int32_t, TokenReach> reaches_;

  bool accepts(int32_t id, std::string_view text, size_t begin, size_t end) const;
  Match reach_of(int32_t id, std::string_view text, size_t begin, size_t end, size_t done) const;
};

}  // namespace hunch
