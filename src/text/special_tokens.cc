#include "text/special_tokens.h"

#include <deque>

#include "text/space_mark.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace hunch {
namespace {

// The place where the character that ends before `end` begins.
size_t previous_char(std::string_view text, size_t end) {
  size_t i = end - 1;
  while (i > 0 && end - i < 4 && (static_cast<uint8_t>(text[i]) & 0xc0) == 0x80) --i;
  return i;
}

}  // namespace

SpecialTokens::SpecialTokens(const TokenizerSpec& spec, const std::vector<std::string>& texts) {
  for (const TokenReach& reach : spec.reaches) reaches_.emplace(reach.id, reach);
  const bool sentencepiece = spec.kind == TokenizerKind::kSentencePieceBpe || spec.kind == TokenizerKind::kUnigram;
  std::vector<std::pair<std::string_view, int32_t>> user, all, marked;
  std::deque<std::string> marked_texts;
  for (size_t i = 0; i < texts.size(); ++i) {
    const TokenType type = spec.types[i];
    const auto id = static_cast<int32_t>(i);
    if (type == TokenType::kUserDefined) {
      const auto reach = reaches_.find(id);
      if (sentencepiece && (reach == reaches_.end() || !reach->second.verbatim)) {
        marked.emplace_back(marked_texts.emplace_back(to_space_marks(texts[i])), id);
        continue;
      }
      user.emplace_back(texts[i], id);
    }
    if (type == TokenType::kUserDefined || type == TokenType::kControl || type == TokenType::kUnknown) {
      all.emplace_back(texts[i], id);
    }
  }
  user_defined_ = ByteTrie(std::move(user));
  all_ = ByteTrie(std::move(all));
  marked_ = ByteTrie(std::move(marked));
}

bool SpecialTokens::accepts(int32_t id, std::string_view text, size_t begin, size_t end) const {
  const auto it = reaches_.find(id);
  if (it == reaches_.end() || !it->second.single_word) return true;
  const auto is_word_at = [&](size_t i) {
    const Utf8Step step = utf8_step(text, i);
    return step.status == Utf8Step::Status::kValid && is_word_char(step.code_point);
  };
  if (begin > 0 && is_word_at(previous_char(text, begin))) return false;
  return end == text.size() || !is_word_at(end);
}

SpecialTokens::Match SpecialTokens::reach_of(int32_t id, std::string_view text, size_t begin, size_t end,
                                             size_t done) const {
  const auto it = reaches_.find(id);
  if (it == reaches_.end()) return {id, begin, end};
  const auto white_at = [&](size_t i) {
    const Utf8Step step = utf8_step(text, i);
    return step.status == Utf8Step::Status::kValid && is_white_space(step.code_point) ? step.n_bytes : 0;
  };
  while (it->second.lstrip && begin > done) {
    const size_t previous = previous_char(text, begin);
    if (previous < done || white_at(previous) != begin - previous) break;
    begin = previous;
  }
  while (it->second.rstrip && end < text.size() && white_at(end) > 0) end += white_at(end);
  return {id, begin, end};
}

std::vector<SpecialTokens::Match> SpecialTokens::find(std::string_view text, const ByteTrie& trie) const {
  std::vector<Match> matches;
  if (trie.empty()) return matches;
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    uint32_t node = ByteTrie::kRoot;
    int32_t id = ByteTrie::kNoValue;
    size_t id_end = i;
    for (size_t k = i; k < text.size(); ++k) {
      node = trie.step(node, static_cast<uint8_t>(text[k]));
      if (node == ByteTrie::kRoot) break;
      const int32_t value = trie.value(node);
      if (value != ByteTrie::kNoValue && accepts(value, text, i, k + 1)) id = value, id_end = k + 1;
    }
    if (id == ByteTrie::kNoValue) {
      ++i;
      continue;
    }
    matches.push_back(reach_of(id, text, i, id_end, done));
    i = done = matches.back().end;
  }
  return matches;
}

}  // namespace hunch
