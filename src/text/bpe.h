// Byte pair encoding on symbols: a text is a row of parts, and the pair of neighbours with the best
// rank (the leftmost of equals) is merged until no pair is left. Byte-level BPE takes the ranks from
// its merge list; SentencePiece BPE from the score of the piece that a merge makes.
// Sources: Sennrich et al. 2016; Kudo and Richardson 2018.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace hunch {

class Bpe {
 public:
  // A symbol below n_vocab is the token of that id; above, a text that merges pass through but that
  // is no token; kOpaque, a text the tables do not know.
  using Symbol = uint32_t;
  static constexpr Symbol kOpaque = UINT32_MAX;
  struct Part {
    Symbol symbol;
    uint32_t begin, end;  // bytes of the text that is encoded
  };

  // Takes ranks from spec.merges where there are any, else from spec.scores. `spec` outlives the
  // object and does not move. Throws Error{kFormat} for a merge that is not two pieces.
  explicit Bpe(const TokenizerSpec& spec);

  // The symbol of a piece as stored.
  Symbol find(std::string_view piece) const;
  bool is_token(Symbol symbol) const { return symbol < n_vocab_; }

  // Merges in place. O(n log n).
  void merge(std::vector<Part>& parts) const;

  // True when no piece holds U+2581 (the SentencePiece space) after another character: then no merge
  // crosses the beginning of a word, and words can be encoded one by one with the same result.
  bool words_are_independent() const { return words_are_independent_; }

 private:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct Merge {
    uint64_t key = UINT64_MAX;  // left << 32 | right
    uint32_t rank = kNoRank;
    Symbol result = kOpaque;
  };

  size_t n_vocab_;
  std::unordered_map<std::string_view, Symbol> symbols_;
  std::deque<std::string> extra_;  // texts of the symbols that are not tokens
  std::vector<Merge> table_;       // open addressing, a power of two
  bool words_are_independent_ = true;

  Symbol intern(std::string_view text);
  void add_merge(Symbol left, Symbol right, Symbol result, uint32_t rank);
  void reserve_merges(size_t n);
  void add_merge_list(std::span<const std::string> merges);
  void add_merges_of_scores(const TokenizerSpec& spec);
  void note_boundaries(std::string_view text);
  const Merge& lookup(Symbol left, Symbol right) const;
  void merge_short(std::vector<Part>& parts) const;
  void merge_long(std::vector<Part>& parts) const;
};

}  // namespace hunch
