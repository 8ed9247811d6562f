#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/space_mark.h"
#include "text/special_tokens.h"
#include "text/unigram.h"
#include "text/utf8.h"

namespace hunch {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Control tokens that end an answer whatever else the file says; texts of the published chat models.
constexpr std::string_view kEndTexts[] = {"<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "<|end_of_text|>",
                                          "<|EOT|>",
                                          "<EOT>",
                                          "<turn|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|end_of_turn|>",
                                          "<|END_OF_TURN_TOKEN|>",
                                          "<\xef\xbd\x9c"
                                          "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"};

// "<0x0A>" -> 10, or -1.
int byte_of_piece(std::string_view piece) {
  const auto hex = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const int high = hex(piece[3]), low = hex(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void check(const TokenizerSpec& spec) {
  const size_t n = spec.pieces.size();
  const auto id_in_range = [&](const char* what, std::optional<int32_t> id) {
    if (id && (*id < 0 || static_cast<size_t>(*id) >= n)) {
      fail(ErrorKind::kFormat, "tokenizer: the {} token is {}, but the vocabulary has {} entries", what, *id, n);
    }
  };
  if (n == 0 || n > (size_t{1} << 30)) fail(ErrorKind::kFormat, "tokenizer: a vocabulary of {} entries", n);
  if (spec.types.size() != n) {
    fail(ErrorKind::kFormat, "tokenizer: {} pieces but {} token types", n, spec.types.size());
  }
  if (!spec.scores.empty() && spec.scores.size() != n) {
    fail(ErrorKind::kFormat, "tokenizer: {} pieces but {} scores", n, spec.scores.size());
  }
  if (!std::ranges::all_of(spec.scores, [](float s) { return std::isfinite(s); })) {
    fail(ErrorKind::kFormat, "tokenizer: a score is not a finite number");
  }
  if (spec.kind == TokenizerKind::kUnigram && spec.scores.empty()) {
    fail(ErrorKind::kFormat, "tokenizer: a unigram vocabulary without scores");
  }
  if (spec.kind == TokenizerKind::kSentencePieceBpe && spec.scores.empty() && spec.merges.empty()) {
    fail(ErrorKind::kFormat, "tokenizer: a SentencePiece vocabulary with neither scores nor merges");
  }
  id_in_range("BOS", spec.bos);
  id_in_range("EOS", spec.eos);
  id_in_range("unknown", spec.unk);
  id_in_range("padding", spec.pad);
  id_in_range("end-of-turn", spec.eot);
  for (int32_t id : spec.extra_eog) id_in_range("end-of-generation", id);
  for (const TokenReach& reach : spec.reaches) id_in_range("added", reach.id);
}

}  // namespace

void pad_vocabulary(TokenizerSpec& spec, size_t n_vocab) {
  for (size_t id = spec.pieces.size(); id < n_vocab; ++id) {
    spec.pieces.push_back(fmt::format("[PAD{}]", id));
    spec.types.push_back(TokenType::kUnused);
    if (!spec.scores.empty()) spec.scores.push_back(-1000.0f);
  }
}

struct Tokenizer::Impl {
  TokenizerSpec spec;
  std::vector<std::string> texts;  // [n_vocab] what each token adds to a text
  std::unordered_map<std::string_view, int32_t> ids;
  std::array<int32_t, 256> byte_ids;            // -1 where the vocabulary has no token for the byte
  std::array<Bpe::Symbol, 256> byte_symbols{};  // byte BPE
  std::set<int32_t> ends;
  std::set<int32_t> verbatim;
  std::optional<SpecialTokens> special;
  std::optional<Normalizer> normalizer;
  std::optional<PreTokenizer> pre_tokenizer;
  std::optional<Bpe> bpe;
  std::optional<Unigram> unigram;

  explicit Impl(TokenizerSpec s) : spec(std::move(s)) {
    check(spec);
    byte_ids.fill(-1);
    spell_tokens();
    special.emplace(spec, texts);
    normalizer.emplace(spec);
    if (spec.kind == TokenizerKind::kUnigram) {
      unigram.emplace(spec);
    } else {
      bpe.emplace(spec);
    }
    if (is_byte_level() || !spec.pre_patterns.empty()) {
      pre_tokenizer.emplace(spec.pre_patterns.empty() ? pre_tokenizer_family(spec.pre).patterns : spec.pre_patterns);
    }
    if (is_byte_level()) {
      for (int b = 0; b < 256; ++b) {
        byte_symbols[b] = bpe->find(to_byte_alphabet(std::string(1, static_cast<char>(b))));
        if (bpe->is_token(byte_symbols[b])) byte_ids[b] = static_cast<int32_t>(byte_symbols[b]);
      }
    }
    find_ends();
    for (const TokenReach& reach : spec.reaches) {
      if (reach.verbatim) verbatim.insert(reach.id);
    }
  }

  bool is_byte_level() const { return spec.kind == TokenizerKind::kByteBpe; }
  TokenType type(int32_t id) const { return spec.types[static_cast<size_t>(id)]; }

  void spell_tokens() {
    texts.reserve(spec.pieces.size());
    ids.reserve(spec.pieces.size());
    for (size_t i = 0; i < spec.pieces.size(); ++i) {
      const std::string& piece = spec.pieces[i];
      const auto id = static_cast<int32_t>(i);
      const TokenType t = spec.types[i];
      ids.emplace(piece, id);
      const bool literal = t == TokenType::kControl || t == TokenType::kUnknown;
      const int byte = t == TokenType::kByte ? byte_of_piece(piece) : -1;
      if (byte >= 0) {
        texts.emplace_back(1, static_cast<char>(byte));
        if (!is_byte_level() && byte_ids[byte] < 0) byte_ids[byte] = id;
      } else if (literal || (is_byte_level() && t == TokenType::kUserDefined)) {
        texts.push_back(piece);
      } else if (is_byte_level()) {
        texts.push_back(from_byte_alphabet(piece).value_or(piece));
      } else {
        texts.push_back(from_space_marks(piece));
      }
    }
  }

  void find_ends() {
    if (spec.eos) ends.insert(*spec.eos);
    if (spec.eot) ends.insert(*spec.eot);
    ends.insert(spec.extra_eog.begin(), spec.extra_eog.end());
    for (std::string_view text : kEndTexts) {
      const auto it = ids.find(text);
      if (it == ids.end()) continue;
      if (type(it->second) == TokenType::kControl || type(it->second) == TokenType::kUserDefined)
        ends.insert(it->second);
    }
  }

  void check_id(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= texts.size()) {
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {} entries", id, texts.size());
    }
  }

  // --- encoding ---------------------------------------------------------------------------------

  void push_unknown(std::vector<int32_t>& out, bool& after_unknown) const {
    if (!spec.unk) {
      if (after_unknown) return;
      for (char c : kReplacement) {
        if (const int32_t id = byte_ids[static_cast<uint8_t>(c)]; id >= 0) out.push_back(id);
      }
    } else if (!after_unknown) {  // a run of unknown characters is one token
      out.push_back(*spec.unk);
    }
    after_unknown = true;
  }

  // Bytes that no piece covers.
  void push_bytes(std::string_view bytes, std::vector<int32_t>& out, bool& after_unknown) const {
    const bool known = std::ranges::all_of(bytes, [&](char c) { return byte_ids[static_cast<uint8_t>(c)] >= 0; });
    if (!known) return push_unknown(out, after_unknown);
    for (char c : bytes) out.push_back(byte_ids[static_cast<uint8_t>(c)]);
    after_unknown = false;
  }

  void push_part(const Bpe::Part& part, std::string_view text, std::vector<int32_t>& out, bool& after_unknown) const {
    if (bpe->is_token(part.symbol)) {
      out.push_back(static_cast<int32_t>(part.symbol));
      after_unknown = false;
      return;
    }
    const std::string_view rest = text.substr(part.begin, part.end - part.begin);
    for (size_t i = 0; i < rest.size();) {
      const size_t n = is_byte_level() ? 1 : utf8_step(rest, i).n_bytes;
      const std::string_view one = rest.substr(i, n);
      const Bpe::Symbol symbol = is_byte_level() ? byte_symbols[static_cast<uint8_t>(one[0])] : bpe->find(one);
      if (bpe->is_token(symbol)) {
        out.push_back(static_cast<int32_t>(symbol));
        after_unknown = false;
      } else {
        push_bytes(one, out, after_unknown);
      }
      i += n;
    }
  }

  void encode_word(std::string_view word, std::vector<int32_t>& out, bool& after_unknown) const {
    if (is_byte_level() && spec.ignore_merges) {
      const Bpe::Symbol whole = bpe->find(to_byte_alphabet(word));
      if (bpe->is_token(whole)) {
        out.push_back(static_cast<int32_t>(whole));
        return;
      }
    }
    std::vector<Bpe::Part> parts;
    parts.reserve(word.size());
    for (uint32_t i = 0; i < word.size();) {
      const auto n = static_cast<uint32_t>(is_byte_level() ? 1 : utf8_step(word, i).n_bytes);
      const Bpe::Symbol symbol =
          is_byte_level() ? byte_symbols[static_cast<uint8_t>(word[i])] : bpe->find(word.substr(i, n));
      parts.push_back({symbol, i, i + n});
      i += n;
    }
    bpe->merge(parts);
    for (const Bpe::Part& part : parts) push_part(part, word, out, after_unknown);
  }

  // Words come back often: each is encoded once per run of text.
  void encode_words(const std::vector<std::string_view>& words, std::vector<int32_t>& out) const {
    constexpr size_t kMaxCached = 48;
    std::unordered_map<std::string_view, std::pair<size_t, size_t>> seen;  // word -> [begin, end) of out
    bool after_unknown = false;
    for (std::string_view word : words) {
      if (word.size() > std::numeric_limits<uint32_t>::max()) {
        fail(ErrorKind::kLimit, "a text of {} bytes without a break is too long to encode", word.size());
      }
      const bool cacheable = word.size() <= kMaxCached && words.size() > 8;
      if (cacheable) {
        if (const auto it = seen.find(word); it != seen.end()) {
          for (size_t i = it->second.first; i < it->second.second; ++i) out.push_back(out[i]);
          continue;
        }
      }
      const size_t begin = out.size();
      after_unknown = false;
      encode_word(word, out, after_unknown);
      if (cacheable) seen.emplace(word, std::make_pair(begin, out.size()));
    }
  }

  // SentencePiece words: a run of marks and what follows it.
  static void words_at_marks(std::string_view text, std::vector<std::string_view>& words) {
    size_t begin = 0;
    for (size_t i = kSpaceMark.size(); i < text.size();) {
      const size_t at = text.find(kSpaceMark, i);
      if (at == std::string_view::npos) break;
      if (at > begin && text.substr(at - kSpaceMark.size(), kSpaceMark.size()) != kSpaceMark) {
        words.push_back(text.substr(begin, at - begin));
        begin = at;
      }
      i = at + kSpaceMark.size();
    }
    if (begin < text.size()) words.push_back(text.substr(begin));
  }

  // Valid UTF-8 between special tokens.
  void encode_run(std::string_view run, bool prefix, std::vector<int32_t>& out) const {
    std::string text = normalizer->is_identity() ? std::string(run) : normalizer->normalize(run);
    if (text.empty()) return;
    if (is_byte_level()) {
      if (prefix && text[0] != ' ') text.insert(text.begin(), ' ');
      return encode_words(pre_tokenizer->split(text), out);
    }
    std::string marked;
    if (prefix && !(spec.prefix_unless_space && (text[0] == ' ' || text.starts_with(kSpaceMark)))) marked = kSpaceMark;
    marked += to_space_marks(text);
    if (unigram) return encode_marked(marked, out);  // which weighs the user-defined tokens itself
    size_t done = 0;
    const std::string_view view = marked;
    for (const SpecialTokens::Match& match : special->find_marked(view)) {
      encode_marked(view.substr(done, match.begin - done), out);
      out.push_back(match.id);
      done = match.end;
    }
    encode_marked(view.substr(done), out);
  }

  // SentencePiece, with marks for spaces and no user-defined tokens left.
  void encode_marked(std::string_view text, std::vector<int32_t>& out) const {
    std::vector<std::string_view> chunks;
    if (pre_tokenizer) {
      chunks = pre_tokenizer->split(text);
    } else if (!text.empty()) {
      chunks = {text};
    }
    if (unigram) {
      for (std::string_view chunk : chunks) encode_unigram(chunk, out);
    } else if (bpe->words_are_independent()) {
      std::vector<std::string_view> words;
      for (std::string_view chunk : chunks) words_at_marks(chunk, words);
      encode_words(words, out);
    } else {
      encode_words(chunks, out);
    }
  }

  void encode_unigram(std::string_view text, std::vector<int32_t>& out) const {
    bool after_unknown = false;
    for (const Unigram::Part& part : unigram->encode(text)) {
      if (part.id == Unigram::kUnknown) {
        push_bytes(text.substr(part.begin, part.end - part.begin), out, after_unknown);
      } else {
        out.push_back(part.id);
        after_unknown = false;
      }
    }
  }

  void encode_fragment(std::string_view text, bool prefix, std::vector<int32_t>& out) const {
    bool after_unknown = false;
    while (!text.empty()) {
      const size_t valid = valid_utf8_prefix(text);
      if (valid > 0) {
        encode_run(text.substr(0, valid), prefix, out);
        after_unknown = false;
      } else {
        push_bytes(text.substr(0, 1), out, after_unknown);
      }
      text.remove_prefix(std::max<size_t>(valid, 1));
      prefix = false;
    }
  }

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const {
    std::vector<int32_t> out;
    out.reserve(text.size() / 3 + 2);
    if (options.add_special && spec.add_bos && spec.bos) out.push_back(*spec.bos);
    size_t done = 0;
    const auto fragment_to = [&](size_t end) {
      if (end <= done) return;
      const bool prefix = spec.add_space_prefix && (done == 0 || !spec.prefix_first_only);
      encode_fragment(text.substr(done, end - done), prefix, out);
    };
    for (const SpecialTokens::Match& match : special->find(text, options.parse_special)) {
      fragment_to(match.begin);
      out.push_back(match.id);
      done = match.end;
    }
    fragment_to(text.size());
    if (options.add_special && spec.add_eos && spec.eos) out.push_back(*spec.eos);
    return out;
  }

  // --- decoding ---------------------------------------------------------------------------------

  // What `id` adds to a text. `at_start` stays true until a token has been spelt that is part of the text.
  std::string_view spell(int32_t id, bool skip_special, bool& at_start) const {
    check_id(id);
    const std::string_view text = texts[static_cast<size_t>(id)];
    const TokenType t = type(id);
    if (t == TokenType::kControl || t == TokenType::kUnknown) return skip_special ? std::string_view() : text;
    const bool drop_space =
        at_start && spec.add_space_prefix && !is_byte_level() && text.substr(0, 1) == " " && verbatim.count(id) == 0;
    at_start = false;
    return drop_space ? text.substr(1) : text;
  }
};

Tokenizer::Tokenizer(TokenizerSpec spec) : impl_(std::make_unique<const Impl>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

const TokenizerSpec& Tokenizer::spec() const { return impl_->spec; }
size_t Tokenizer::n_vocab() const { return impl_->texts.size(); }

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return impl_->encode(text, options);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  bool at_start = true;
  for (int32_t id : ids) out += impl_->spell(id, skip_special, at_start);
  return out;
}

std::string_view Tokenizer::piece(int32_t id) const {
  impl_->check_id(id);
  return impl_->texts[static_cast<size_t>(id)];
}

bool Tokenizer::is_control(int32_t id) const {
  impl_->check_id(id);
  return impl_->type(id) == TokenType::kControl;
}

bool Tokenizer::is_end_of_generation(int32_t id) const { return impl_->ends.count(id) > 0; }

std::optional<int32_t> Tokenizer::find(std::string_view piece) const {
  const auto it = impl_->ids.find(piece);
  return it == impl_->ids.end() ? std::nullopt : std::optional<int32_t>(it->second);
}

std::string StreamDecoder::push(int32_t id) {
  pending_ += tokenizer_->impl_->spell(id, skip_special_, at_start_);
  std::string out;
  size_t i = 0;
  while (i < pending_.size()) {
    const Utf8Step step = utf8_step(pending_, i);
    if (step.status == Utf8Step::Status::kIncomplete) break;
    out += step.status == Utf8Step::Status::kValid ? std::string_view(pending_).substr(i, step.n_bytes) : kReplacement;
    i += step.n_bytes;
  }
  pending_.erase(0, i);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out = replace_invalid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace hunch
