#include "text/wordpiece.h"

#include <algorithm>

#include "base/error.h"
#include "base/throw_if_stopped.h"
#include "text/space_mark.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace hunch {

WordPiece::WordPiece(const TokenizerSpec& spec) : unknown_(spec.unk), max_word_chars_(spec.max_word_chars) {
  std::vector<std::pair<std::string_view, int32_t>> beginnings, continuations;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.types[i] != TokenType::kNormal) continue;
    std::string_view piece = spec.pieces[i];
    const bool goes_on = piece.starts_with(kContinuation);
    if (goes_on) piece.remove_prefix(kContinuation.size());
    (goes_on ? continuations : beginnings).emplace_back(piece, int32_t(i));
  }
  beginnings_ = ByteTrie(std::move(beginnings));
  continuations_ = ByteTrie(std::move(continuations));
}

void WordPiece::encode_word(std::string_view word, std::vector<int32_t>& out) const {
  const size_t n_before = out.size();
  const auto n_chars = size_t(std::ranges::count_if(word, [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
  bool known = n_chars <= max_word_chars_;
  for (size_t begin = 0; known && begin < word.size();) {
    const ByteTrie& trie = begin == 0 ? beginnings_ : continuations_;
    uint32_t node = ByteTrie::kRoot;
    int32_t best = ByteTrie::kNoValue;
    size_t end = begin;
    for (size_t i = begin; i < word.size(); ++i) {
      node = trie.step(node, uint8_t(word[i]));
      if (node == ByteTrie::kRoot) break;
      if (trie.value(node) != ByteTrie::kNoValue) best = trie.value(node), end = i + 1;
    }
    known = best != ByteTrie::kNoValue;
    if (known) out.push_back(best);
    begin = end;
  }
  if (known) return;
  out.resize(n_before);
  if (unknown_) out.push_back(*unknown_);
}

void WordPiece::encode(std::string_view text, std::vector<int32_t>& out, const Stop* stop) const {
  size_t begin = 0;  // of a word
  const auto word_to = [&](size_t end) {
    throw_if_stopped(stop);
    if (end > begin) encode_word(text.substr(begin, end - begin), out);
  };
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const bool white = is_white_space(step.code_point), apart = is_punctuation(step.code_point);
    if (white || apart) word_to(i);
    i += step.n_bytes;
    if (apart) begin = i - step.n_bytes, word_to(i);
    if (white || apart) begin = i;
  }
  word_to(text.size());
}

std::vector<NormalizerStep> steps_of(const BertNormalizer& normalizer) {
  using Kind = NormalizerStep::Kind;
  std::vector<NormalizerStep> steps;
  const auto add = [&](bool wanted, Kind kind) {
    if (wanted) steps.push_back({kind, "", ""});
  };
  add(normalizer.clean_text, Kind::kCleanText);
  add(normalizer.space_chinese, Kind::kSpaceChinese);
  add(normalizer.strip_accents, Kind::kStripAccents);
  add(normalizer.lower_case, Kind::kLowercase);
  return steps;
}

BertNormalizer guess_bert_normalizer(const TokenizerSpec& spec) {
  BertNormalizer normalizer;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const std::string& piece = spec.pieces[i];
    if (spec.types[i] != TokenType::kNormal || piece.starts_with('[')) continue;
    if (std::ranges::any_of(piece, [](char c) { return c >= 'A' && c <= 'Z'; }))
      normalizer.lower_case = normalizer.strip_accents = false;
  }
  return normalizer;
}

TokenizerSpec parse_wordpiece_vocab(std::string_view vocab_txt) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.add_space_prefix = true;
  while (!vocab_txt.empty()) {
    const size_t end = std::min(vocab_txt.find('\n'), vocab_txt.size());
    std::string_view line = vocab_txt.substr(0, end);
    vocab_txt.remove_prefix(std::min(end + 1, vocab_txt.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    spec.pieces.emplace_back(line);
    spec.types.push_back(TokenType::kNormal);
  }
  const auto id_of = [&](std::string_view piece) -> std::optional<int32_t> {
    const auto it = std::ranges::find(spec.pieces, piece);
    if (it == spec.pieces.end()) return std::nullopt;
    const auto id = int32_t(it - spec.pieces.begin());
    spec.types[size_t(id)] = piece == "[UNK]" ? TokenType::kUnknown : TokenType::kControl;
    return id;
  };
  spec.unk = id_of("[UNK]");
  spec.bos = id_of("[CLS]");
  spec.eos = id_of("[SEP]");
  for (const char* other : {"[PAD]", "[MASK]"}) id_of(other);
  if (!spec.unk || !spec.bos || !spec.eos)
    fail(ErrorKind::kFormat, "vocab.txt: {} pieces, but none is {}", spec.pieces.size(),
         !spec.unk   ? "[UNK]"
         : !spec.bos ? "[CLS]"
                     : "[SEP]");
  spec.add_bos = spec.add_eos = true;
  return spec;
}

std::string without_detached_punctuation(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kReplaced[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplaced) {
    std::string out;
    size_t done = 0;
    for (size_t at = text.find(from); at != text.npos; at = text.find(from, done)) {
      out.append(text, done, at - done).append(to);
      done = at + from.size();
    }
    text = out.append(text, done);
  }
  return text;
}

std::string piece_from_gguf(std::string_view piece, TokenType type) {
  // Old files have special and unused tokens as normal ones: "[unused7]".
  const bool in_brackets = piece.size() > 2 && piece.starts_with('[') && piece.ends_with(']');
  if (!(type == TokenType::kNormal || type == TokenType::kUserDefined) || in_brackets) return std::string(piece);
  if (piece.starts_with(kSpaceMark)) return std::string(piece.substr(kSpaceMark.size()));
  if (type == TokenType::kUserDefined) return std::string(piece);
  return std::string(kContinuation) + std::string(piece);
}

std::string piece_to_gguf(std::string_view piece, TokenType type) {
  if (type != TokenType::kNormal) return std::string(piece);
  if (piece.starts_with(kContinuation)) return std::string(piece.substr(kContinuation.size()));
  return std::string(kSpaceMark) + std::string(piece);
}

}  // namespace hunch
