#include "text/unigram.h"

#include <algorithm>
#include <deque>
#include <limits>

#include "text/space_mark.h"
#include "text/utf8.h"

namespace hunch {
namespace {

constexpr double kUnknownPenalty = 10.0;

bool is_normal(TokenType type) { return type == TokenType::kNormal || type == TokenType::kUndefined; }

}  // namespace

Unigram::Unigram(const TokenizerSpec& spec) : scores_(spec.scores.begin(), spec.scores.end()) {
  double least = 0, most = 0;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    if (!is_normal(spec.types[id])) continue;
    least = std::min(least, scores_[id]);
    most = std::max(most, scores_[id]);
  }
  std::vector<std::pair<std::string_view, int32_t>> entries;
  std::deque<std::string> marked;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    std::string_view piece = spec.pieces[id];
    if (piece.empty()) continue;
    if (spec.types[id] == TokenType::kUserDefined) {
      // SentencePiece's own rule: bytes times the best score, which it never takes below zero, minus a little.
      scores_[id] = static_cast<double>(piece.size()) * most - 0.1;
      piece = marked.emplace_back(to_space_marks(piece));
    } else if (!is_normal(spec.types[id])) {
      continue;
    }
    entries.emplace_back(piece, static_cast<int32_t>(id));
  }
  trie_ = ByteTrie(std::move(entries));
  unknown_score_ = least - kUnknownPenalty;
}

std::vector<Unigram::Part> Unigram::encode(std::string_view text) const {
  // best[i]: the best way to write text[0, i).
  struct Best {
    double score = -std::numeric_limits<double>::infinity();
    size_t begin = 0;  // of its last piece
    int32_t id = kUnknown;
  };
  std::vector<Best> best(text.size() + 1);
  best[0].score = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t char_end = i + utf8_step(text, i).n_bytes;
    const auto offer = [&](size_t end, double score, int32_t id) {
      if (best[i].score + score > best[end].score) best[end] = {best[i].score + score, i, id};
    };
    bool char_is_piece = false;
    uint32_t node = ByteTrie::kRoot;
    for (size_t end = i; end < text.size();) {
      node = trie_.step(node, static_cast<uint8_t>(text[end]));
      if (node == ByteTrie::kRoot) break;
      ++end;
      const int32_t id = trie_.value(node);
      if (id == ByteTrie::kNoValue) continue;
      offer(end, scores_[static_cast<size_t>(id)], id);
      char_is_piece |= end == char_end;
    }
    if (!char_is_piece) offer(char_end, unknown_score_, kUnknown);
    i = char_end;
  }

  std::vector<Part> parts;
  for (size_t end = text.size(); end > 0; end = best[end].begin) {
    const Best& b = best[end];
    if (b.id == kUnknown && !parts.empty() && parts.back().id == kUnknown) {
      parts.back().begin = b.begin;
    } else {
      parts.push_back({b.id, b.begin, end});
    }
  }
  std::ranges::reverse(parts);
  return parts;
}

}  // namespace hunch
