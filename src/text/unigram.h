// The unigram language model tokenizer: of all ways to write a text as pieces, the most probable.
// Source: Kudo 2018, "Subword Regularization", section 3.2.
#pragma once
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace hunch {

class Unigram {
 public:
  static constexpr int32_t kUnknown = -1;
  struct Part {
    int32_t id;  // or kUnknown: a run of characters that no piece covers
    size_t begin, end;
  };

  // Uses spec.pieces and spec.scores of the normal pieces, and the user-defined ones. `spec` is not needed later.
  explicit Unigram(const TokenizerSpec& spec);

  // The best parts of `text` (valid UTF-8), in order. Neighbouring unknown characters are one part.
  // An unknown character costs 10 more than the least probable piece, as in SentencePiece.
  std::vector<Part> encode(std::string_view text) const;

 private:
  std::vector<double> scores_;  // [n_vocab]
  ByteTrie trie_;
  double unknown_score_ = 0;
};

}  // namespace hunch
