#include "text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "io/printable.h"
#include "text/encoder.h"
#include "text/token_text.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

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

bool has_several_characters(std::string_view piece) {
  return !piece.empty() && utf8_step(piece, 0).n_bytes < piece.size();
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
  if (spec.kind == TokenizerKind::kByteBpe && spec.merges.empty() && !spec.ignore_merges) {
    // A vocabulary of bytes has none, and perhaps a few pieces more whose type is not said.
    constexpr size_t kFew = 4;
    size_t n_made = 0, example = 0;
    for (size_t i = 0; i < n; ++i) {
      if (spec.types[i] == TokenType::kNormal && has_several_characters(spec.pieces[i])) ++n_made, example = i;
    }
    if (n_made > kFew)
      fail(ErrorKind::kFormat,
           "tokenizer: no merges make the pieces of the vocabulary, as '{}'; convert the model anew",
           printable(spec.pieces[example]));
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

bool drop_added_tokens(TokenizerSpec& spec, size_t n_vocab) {
  if (spec.pieces.size() <= n_vocab) return true;
  const auto is_added = [](TokenType type) {
    return type == TokenType::kControl || type == TokenType::kUserDefined || type == TokenType::kUnused;
  };
  if (!std::all_of(spec.types.begin() + ptrdiff_t(n_vocab), spec.types.end(), is_added)) return false;
  for (const auto& id : {spec.bos, spec.eos, spec.unk, spec.eot})
    if (id && size_t(*id) >= n_vocab) return false;
  const auto is_dropped = [&](int32_t id) { return size_t(id) >= n_vocab; };
  if (std::ranges::any_of(spec.extra_eog, is_dropped)) return false;
  spec.note += fmt::format("{}{} added tokens have no row of the embedding and are left out, the first '{}'",
                           spec.note.empty() ? "" : "; ", spec.pieces.size() - n_vocab, spec.pieces[n_vocab]);
  if (spec.pad && is_dropped(*spec.pad)) spec.pad.reset();
  std::erase_if(spec.reaches, [&](const TokenReach& reach) { return is_dropped(reach.id); });
  spec.pieces.resize(n_vocab);
  spec.types.resize(n_vocab);
  if (!spec.scores.empty()) spec.scores.resize(n_vocab);
  return true;
}

struct Tokenizer::Impl {
  TokenizerSpec spec;
  std::vector<std::string> texts;  // [n_vocab] what each token adds to a text
  std::unordered_map<std::string_view, int32_t> ids;
  std::set<int32_t> ends;
  std::set<int32_t> verbatim;
  std::optional<Encoder> encoder;

  explicit Impl(TokenizerSpec s) : spec(std::move(s)) {
    check(spec);
    ids.reserve(spec.pieces.size());
    for (size_t i = 0; i < spec.pieces.size(); ++i) ids.emplace(spec.pieces[i], static_cast<int32_t>(i));
    // Some files list an end token as a normal one.
    for (const std::string_view text : kEndTexts)
      if (const auto it = ids.find(text); it != ids.end() && type(it->second) == TokenType::kNormal)
        spec.types[size_t(it->second)] = TokenType::kControl;
    texts = token_texts(spec);
    for (const TokenReach& reach : spec.reaches) {
      if (reach.verbatim) verbatim.insert(reach.id);
    }
    find_ends();
    encoder.emplace(spec, texts);
  }

  bool is_byte_level() const { return spec.kind == TokenizerKind::kByteBpe; }
  TokenType type(int32_t id) const { return spec.types[static_cast<size_t>(id)]; }

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
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {}, expected 0 to {}", id, texts.size(),
           texts.size() - 1);
    }
  }

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
  std::vector<int32_t> ids = impl_->encoder->encode(text, options);
  // A rendered chat begins with BOS already.
  const std::optional<int32_t> bos = impl_->spec.bos;
  if (options.add_special && options.parse_special && impl_->spec.add_bos && bos && ids.size() > 1 && ids[0] == *bos &&
      ids[1] == *bos)
    ids.erase(ids.begin());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  bool at_start = true;
  for (int32_t id : ids) out += impl_->spell(id, skip_special, at_start);
  return impl_->spec.kind == TokenizerKind::kWordPiece ? without_detached_punctuation(std::move(out)) : out;
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
