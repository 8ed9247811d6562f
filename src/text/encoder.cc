#include "text/encoder.h"

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "base/throw_if_stopped.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/space_mark.h"
#include "text/special_tokens.h"
#include "text/token_text.h"
#include "text/unigram.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

namespace hunch {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

}  // namespace

struct Encoder::Impl {
  const TokenizerSpec& spec;
  SpecialTokens special;
  Normalizer normalizer;
  std::array<int32_t, 256> byte_ids;            // -1 where the vocabulary has no token for the byte
  std::array<Bpe::Symbol, 256> byte_symbols{};  // byte BPE
  std::optional<PreTokenizer> pre_tokenizer;
  std::optional<Bpe> bpe;
  std::optional<Unigram> unigram;
  std::optional<WordPiece> wordpiece;

  Impl(const TokenizerSpec& s, const std::vector<std::string>& texts) : spec(s), special(s, texts), normalizer(s) {
    if (spec.kind == TokenizerKind::kUnigram) {
      unigram.emplace(spec);
    } else if (spec.kind == TokenizerKind::kWordPiece) {
      wordpiece.emplace(spec);
    } else {
      bpe.emplace(spec);
    }
    if (is_byte_level() || !spec.pre_patterns.empty()) {
      pre_tokenizer.emplace(spec.pre_patterns.empty() ? pre_tokenizer_family(spec.pre).patterns : spec.pre_patterns);
    }
    find_bytes();
  }

  bool is_byte_level() const { return spec.kind == TokenizerKind::kByteBpe; }

  void find_bytes() {
    byte_ids.fill(-1);
    if (is_byte_level()) {
      for (size_t b = 0; b < 256; ++b) {
        byte_symbols[b] = bpe->find(to_byte_alphabet(std::string(1, static_cast<char>(b))));
        if (bpe->is_token(byte_symbols[b])) byte_ids[b] = static_cast<int32_t>(byte_symbols[b]);
      }
      return;
    }
    for (size_t id = 0; id < spec.pieces.size(); ++id) {
      const int byte = spec.types[id] == TokenType::kByte ? byte_of_piece(spec.pieces[id]) : -1;
      if (byte >= 0 && byte_ids[static_cast<size_t>(byte)] < 0) {
        byte_ids[static_cast<size_t>(byte)] = static_cast<int32_t>(id);
      }
    }
  }

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
  void encode_words(const std::vector<std::string_view>& words, std::vector<int32_t>& out, const Stop* stop) const {
    constexpr size_t kMaxCached = 48;
    std::unordered_map<std::string_view, std::pair<size_t, size_t>> seen;  // word -> [begin, end) of out
    bool after_unknown = false;
    for (std::string_view word : words) {
      throw_if_stopped(stop);
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
  void encode_run(std::string_view run, bool prefix, std::vector<int32_t>& out, const Stop* stop) const {
    std::string text = normalizer.is_identity() ? std::string(run) : normalizer.normalize(run);
    if (text.empty()) return;
    if (wordpiece) return wordpiece->encode(text, out, stop);
    if (is_byte_level()) {
      if (prefix && text[0] != ' ') text.insert(text.begin(), ' ');
      return encode_words(pre_tokenizer->split(text), out, stop);
    }
    std::string marked;
    if (prefix && !(spec.prefix_unless_space && (text[0] == ' ' || text.starts_with(kSpaceMark)))) marked = kSpaceMark;
    marked += to_space_marks(text);
    if (unigram) return encode_marked(marked, out, stop);  // which weighs the user-defined tokens itself
    size_t done = 0;
    const std::string_view view = marked;
    for (const SpecialTokens::Match& match : special.find_marked(view)) {
      encode_marked(view.substr(done, match.begin - done), out, stop);
      out.push_back(match.id);
      done = match.end;
    }
    encode_marked(view.substr(done), out, stop);
  }

  // SentencePiece, with marks for spaces and no user-defined tokens left.
  void encode_marked(std::string_view text, std::vector<int32_t>& out, const Stop* stop) const {
    std::vector<std::string_view> chunks;
    if (pre_tokenizer) {
      chunks = pre_tokenizer->split(text);
    } else if (!text.empty()) {
      chunks = {text};
    }
    if (unigram) {
      for (std::string_view chunk : chunks) {
        throw_if_stopped(stop);
        encode_unigram(chunk, out);
      }
    } else if (bpe->words_are_independent()) {
      std::vector<std::string_view> words;
      for (std::string_view chunk : chunks) words_at_marks(chunk, words);
      encode_words(words, out, stop);
    } else {
      encode_words(chunks, out, stop);
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

  void encode_fragment(std::string_view text, bool prefix, std::vector<int32_t>& out, const Stop* stop) const {
    bool after_unknown = false;
    while (!text.empty()) {
      const size_t valid = valid_utf8_prefix(text);
      if (valid > 0) {
        encode_run(text.substr(0, valid), prefix, out, stop);
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
      encode_fragment(text.substr(done, end - done), prefix, out, options.stop);
    };
    for (const SpecialTokens::Match& match : special.find(text, options.parse_special)) {
      fragment_to(match.begin);
      out.push_back(match.id);
      done = match.end;
    }
    fragment_to(text.size());
    if (options.add_special && spec.add_eos && spec.eos) out.push_back(*spec.eos);
    return out;
  }
};

Encoder::Encoder(const TokenizerSpec& spec, const std::vector<std::string>& texts)
    : impl_(std::make_unique<const Impl>(spec, texts)) {}
Encoder::~Encoder() = default;

std::vector<int32_t> Encoder::encode(std::string_view text, const EncodeOptions& options) const {
  return impl_->encode(text, options);
}

}  // namespace hunch
