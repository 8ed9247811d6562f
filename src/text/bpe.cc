#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

#include "base/error.h"
#include "io/printable.h"
#include "text/space_mark.h"
#include "text/utf8.h"

namespace hunch {
namespace {

constexpr size_t kMaxPieceBytes = 4096;  // bounds the work of a hostile vocabulary; real pieces have at most 200
constexpr size_t kShort = 24;            // up to here a scan per merge is cheaper than a heap

uint64_t pair_key(Bpe::Symbol left, Bpe::Symbol right) { return uint64_t{left} << 32 | right; }

size_t slot_of(uint64_t key, size_t mask) {
  key *= 0x9e3779b97f4a7c15u;
  return static_cast<size_t>(key ^ (key >> 32)) & mask;
}

// Only these can come out of a merge: special tokens are found beforehand, or not at all.
bool is_mergeable(TokenType type) { return type == TokenType::kNormal || type == TokenType::kUndefined; }

}  // namespace

Bpe::Bpe(const TokenizerSpec& spec) : n_vocab_(spec.pieces.size()) {
  symbols_.reserve(n_vocab_ * 2);
  for (size_t id = 0; id < n_vocab_; ++id) {
    if (is_mergeable(spec.types[id]) && !spec.pieces[id].empty()) {
      symbols_.emplace(spec.pieces[id], static_cast<Symbol>(id));
      note_boundaries(spec.pieces[id]);
    }
  }
  if (!spec.merges.empty()) {
    add_merge_list(spec.merges);
  } else if (!spec.scores.empty()) {
    add_merges_of_scores(spec);
  }
  if (table_.empty()) table_.resize(1);
}

void Bpe::note_boundaries(std::string_view text) {
  for (size_t at = text.find(kSpaceMark, 1); at != std::string_view::npos; at = text.find(kSpaceMark, at + 1)) {
    if (at < kSpaceMark.size() || text.substr(at - kSpaceMark.size(), kSpaceMark.size()) != kSpaceMark) {
      words_are_independent_ = false;
    }
  }
}

Bpe::Symbol Bpe::find(std::string_view piece) const {
  const auto it = symbols_.find(piece);
  return it == symbols_.end() ? kOpaque : it->second;
}

Bpe::Symbol Bpe::intern(std::string_view text) {
  const auto it = symbols_.find(text);
  if (it != symbols_.end()) return it->second;
  const Symbol symbol = static_cast<Symbol>(n_vocab_ + extra_.size());
  symbols_.emplace(extra_.emplace_back(text), symbol);
  note_boundaries(text);
  return symbol;
}

void Bpe::reserve_merges(size_t n) { table_.assign(std::bit_ceil(n * 2 + 1), Merge{}); }

void Bpe::add_merge(Symbol left, Symbol right, Symbol result, uint32_t rank) {
  const uint64_t key = pair_key(left, right);
  const size_t mask = table_.size() - 1;
  size_t i = slot_of(key, mask);
  while (table_[i].key != UINT64_MAX) {
    if (table_[i].key == key) return;  // of a repeated merge the first counts
    i = (i + 1) & mask;
  }
  table_[i] = {key, rank, result};
}

const Bpe::Merge& Bpe::lookup(Symbol left, Symbol right) const {
  static const Merge kNone;
  if (left == kOpaque || right == kOpaque) return kNone;
  const uint64_t key = pair_key(left, right);
  const size_t mask = table_.size() - 1;
  for (size_t i = slot_of(key, mask);; i = (i + 1) & mask) {
    if (table_[i].key == key) return table_[i];
    if (table_[i].key == UINT64_MAX) return kNone;
  }
}

void Bpe::add_merge_list(std::span<const std::string> merges) {
  reserve_merges(merges.size());
  std::string result;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      fail(ErrorKind::kFormat, "tokenizer merge {}: expected two pieces with a space between, found '{}'", rank,
           printable(merge));
    }
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    result.assign(left).append(right);
    const Symbol a = intern(left), b = intern(right);
    add_merge(a, b, intern(result), static_cast<uint32_t>(rank));
  }
}

// Every way to make a piece of two shorter ones is a merge, ranked by the piece's score. A half that
// is a single character need not be a piece itself.
void Bpe::add_merges_of_scores(const TokenizerSpec& spec) {
  struct Way {
    Symbol left, right, result;
    float score;
  };
  std::vector<Way> ways;
  for (size_t id = 0; id < n_vocab_; ++id) {
    const std::string_view piece = spec.pieces[id];
    if (find(piece) != id || valid_utf8_prefix(piece) != piece.size()) continue;
    if (piece.size() > kMaxPieceBytes) {
      fail(ErrorKind::kFormat, "tokenizer: piece {} has {} bytes; at most {} are expected", id, piece.size(),
           kMaxPieceBytes);
    }
    const size_t first_char = utf8_step(piece, 0).n_bytes;
    for (size_t at = first_char; at < piece.size(); at += utf8_step(piece, at).n_bytes) {
      const std::string_view left = piece.substr(0, at), right = piece.substr(at);
      const bool left_is_char = at == first_char;
      const bool right_is_char = at + utf8_step(piece, at).n_bytes == piece.size();
      const Symbol a = left_is_char ? intern(left) : find(left);
      const Symbol b = right_is_char ? intern(right) : find(right);
      if (a != kOpaque && b != kOpaque) ways.push_back({a, b, static_cast<Symbol>(id), spec.scores[id]});
    }
  }
  std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.score > b.score; });
  reserve_merges(ways.size());
  uint32_t rank = 0;
  for (size_t i = 0; i < ways.size(); ++i) {
    if (i > 0 && ways[i].score != ways[i - 1].score) ++rank;  // equal scores: the leftmost pair goes first
    add_merge(ways[i].left, ways[i].right, ways[i].result, rank);
  }
}

void Bpe::merge(std::vector<Part>& parts) const {
  if (parts.size() <= 1) return;
  parts.size() <= kShort ? merge_short(parts) : merge_long(parts);
}

void Bpe::merge_short(std::vector<Part>& parts) const {
  uint32_t ranks[kShort];  // of the pair that begins at each part
  size_t n = parts.size();
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = lookup(parts[i].symbol, parts[i + 1].symbol).rank;
  while (n > 1) {
    const size_t best = std::min_element(ranks, ranks + n - 1) - ranks;
    if (ranks[best] == kNoRank) break;
    parts[best].symbol = lookup(parts[best].symbol, parts[best + 1].symbol).result;
    parts[best].end = parts[best + 1].end;
    std::copy(parts.begin() + best + 2, parts.begin() + n, parts.begin() + best + 1);
    std::copy(ranks + best + 1, ranks + n - 1, ranks + best);
    --n;
    if (best > 0) ranks[best - 1] = lookup(parts[best - 1].symbol, parts[best].symbol).rank;
    if (best + 1 < n) ranks[best] = lookup(parts[best].symbol, parts[best + 1].symbol).rank;
  }
  parts.resize(n);
}

void Bpe::merge_long(std::vector<Part>& parts) const {
  struct Candidate {
    uint32_t rank, left, right;  // right: index of the right part when this was pushed
    Symbol left_symbol, right_symbol;
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  constexpr uint32_t kNoPart = UINT32_MAX;
  const uint32_t n = static_cast<uint32_t>(parts.size());
  std::vector<uint32_t> previous(n), next(n);
  for (uint32_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kNoPart : i - 1;
    next[i] = i + 1 == n ? kNoPart : i + 1;
  }
  std::vector<Candidate> storage;
  storage.reserve(n);
  const auto consider = [&](uint32_t left, uint32_t right, auto&& push) {
    if (left == kNoPart || right == kNoPart) return;
    const uint32_t rank = lookup(parts[left].symbol, parts[right].symbol).rank;
    if (rank != kNoRank) push(Candidate{rank, left, right, parts[left].symbol, parts[right].symbol});
  };
  for (uint32_t i = 0; i + 1 < n; ++i) consider(i, i + 1, [&](const Candidate& c) { storage.push_back(c); });
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(storage));

  // A merged-away part has begin == end; no part is empty before.
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Part& left = parts[top.left];
    if (left.begin == left.end || next[top.left] != top.right || left.symbol != top.left_symbol ||
        parts[top.right].symbol != top.right_symbol) {
      continue;  // one of the two has been merged since
    }
    left.symbol = lookup(left.symbol, parts[top.right].symbol).result;
    left.end = parts[top.right].end;
    parts[top.right].end = parts[top.right].begin;
    next[top.left] = next[top.right];
    if (next[top.left] != kNoPart) previous[next[top.left]] = top.left;
    const auto push = [&](const Candidate& c) { queue.push(c); };
    consider(previous[top.left], top.left, push);
    consider(top.left, next[top.left], push);
  }
  std::erase_if(parts, [](const Part& p) { return p.begin == p.end; });
}

}  // namespace hunch
