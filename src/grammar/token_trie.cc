#include "grammar/token_trie.h"

#include <algorithm>
#include <numeric>

namespace hunch::grammar {

std::string control_bytes(int32_t id) {
  return {'\xFF', char(uint8_t(id >> 16)), char(uint8_t(id >> 8)), char(uint8_t(id))};
}

std::string literal_bytes(const Tokenizer& tokenizer, std::string_view text) {
  std::string out;
  // The whole first: a text of one token is that token. The others' bytes are the text's own.
  for (size_t at = 0; at < text.size();) {
    size_t n = 0;
    int32_t best = -1;
    for (size_t length = std::min<size_t>(text.size() - at, 64); length > 1 && best < 0; --length) {
      const auto id = tokenizer.find(text.substr(at, length));
      if (id && tokenizer.is_control(*id)) best = *id, n = length;
    }
    out += best < 0 ? std::string(1, text[at]) : control_bytes(best);
    at += best < 0 ? 1 : n;
  }
  return out;
}

TokenTrie::TokenTrie(const Tokenizer& tokenizer) {
  const TokenizerSpec& spec = tokenizer.spec();
  bytes_.resize(tokenizer.n_vocab());
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const int32_t id = int32_t(i);
    const TokenType type = i < spec.types.size() ? spec.types[i] : TokenType::kNormal;
    if (tokenizer.is_end_of_generation(id)) {
      ends_.push_back(id);
    } else if (tokenizer.is_control(id)) {
      bytes_[i] = control_bytes(id);
    } else if (type != TokenType::kUnused && type != TokenType::kUnknown && id != spec.unk) {
      // The byte that control tokens begin with here is a token of its own in some vocabularies: no text needs it.
      const std::string_view piece = tokenizer.piece(id);
      if (piece.find('\xFF') == piece.npos) bytes_[i] = piece;
    }
  }
  build();
}

TokenTrie::TokenTrie(std::vector<std::string> bytes, std::vector<int32_t> ends)
    : bytes_(std::move(bytes)), ends_(std::move(ends)) {
  build();
}

void TokenTrie::build() {
  is_end_.assign(bytes_.size(), false);
  for (const int32_t id : ends_) is_end_[size_t(id)] = true;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    if (bytes_[i].size() > 255) bytes_[i].clear();
    longest_ = std::max(longest_, bytes_[i].size());
    if (!bytes_[i].empty()) ids_.push_back(int32_t(i));
  }
  std::ranges::sort(ids_, [&](int32_t a, int32_t b) {
    const std::string &x = bytes_[size_t(a)], &y = bytes_[size_t(b)];
    return x != y ? x < y : a < b;
  });
  std::vector<uint32_t> open;  // the path to the present node
  std::string_view before;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const std::string_view text = bytes_[size_t(ids_[i])];
    size_t n = 0;
    while (n < before.size() && n < text.size() && before[n] == text[n]) ++n;
    while (open.size() > n) {
      nodes_[open.back()].end = uint32_t(nodes_.size());
      open.pop_back();
    }
    for (size_t k = n; k < text.size(); ++k) {
      open.push_back(uint32_t(nodes_.size()));
      nodes_.push_back({0, uint32_t(i), uint8_t(text[k]), uint8_t(k + 1)});
    }
    before = text;
  }
  for (const uint32_t node : open) nodes_[node].end = uint32_t(nodes_.size());
  nodes_.push_back({uint32_t(nodes_.size()), uint32_t(ids_.size()), 0, 0});
}

}  // namespace hunch::grammar
