// The tokenizer in a GGUF file's metadata. Keys "tokenizer.ggml.*" are GGUF's own; "hunch.tokenizer.*"
// hold what GGUF has no word for, and are written only where they differ from what a reader assumes.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "io/printable.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/wordpiece.h"

namespace hunch {
namespace {

constexpr char kModel[] = "tokenizer.ggml.model";
constexpr char kPre[] = "tokenizer.ggml.pre";
constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kTypes[] = "tokenizer.ggml.token_type";
constexpr char kScores[] = "tokenizer.ggml.scores";
constexpr char kMerges[] = "tokenizer.ggml.merges";
constexpr char kCharsmap[] = "tokenizer.ggml.precompiled_charsmap";
constexpr char kAddBos[] = "tokenizer.ggml.add_bos_token";
constexpr char kAddEos[] = "tokenizer.ggml.add_eos_token";
constexpr char kAddSpace[] = "tokenizer.ggml.add_space_prefix";
constexpr char kSqueeze[] = "tokenizer.ggml.remove_extra_whitespaces";
constexpr char kTemplate[] = "tokenizer.chat_template";
constexpr char kOwnPatterns[] = "hunch.tokenizer.pre_patterns";
constexpr char kOwnIgnoreMerges[] = "hunch.tokenizer.ignore_merges";
constexpr char kOwnNfc[] = "hunch.tokenizer.nfc";
constexpr char kOwnPrefixFirst[] = "hunch.tokenizer.prefix_first_only";
constexpr char kOwnPrefixUnlessSpace[] = "hunch.tokenizer.prefix_unless_space";
constexpr char kOwnNormalizers[] = "hunch.tokenizer.normalizers";  // kind, from, to; three strings a step
constexpr char kOwnReaches[] = "hunch.tokenizer.reaches";          // id, flags; two numbers a token
constexpr char kOwnEnds[] = "hunch.tokenizer.eog_token_ids";
constexpr char kOwnMaxWord[] = "hunch.tokenizer.max_word_chars";
constexpr char kOwnNote[] = "hunch.tokenizer.note";

struct SpecialId {
  const char* key;
  std::optional<int32_t> TokenizerSpec::*member;
};
constexpr SpecialId kSpecialIds[] = {{"tokenizer.ggml.bos_token_id", &TokenizerSpec::bos},
                                     {"tokenizer.ggml.eos_token_id", &TokenizerSpec::eos},
                                     {"tokenizer.ggml.unknown_token_id", &TokenizerSpec::unk},
                                     {"tokenizer.ggml.padding_token_id", &TokenizerSpec::pad},
                                     {"tokenizer.ggml.eot_token_id", &TokenizerSpec::eot}};
constexpr char kEomId[] = "tokenizer.ggml.eom_token_id";
// What a WordPiece vocabulary begins and ends texts with; the second is spelt so everywhere.
constexpr char kClsId[] = "tokenizer.ggml.cls_token_id";
constexpr char kSepId[] = "tokenizer.ggml.seperator_token_id";

TokenizerKind kind_of(const std::string& model) {
  if (model == "gpt2") return TokenizerKind::kByteBpe;
  if (model == "llama") return TokenizerKind::kSentencePieceBpe;
  if (model == "t5") return TokenizerKind::kUnigram;
  if (model == "bert") return TokenizerKind::kWordPiece;
  fail(ErrorKind::kUnsupported,
       "tokenizer.ggml.model is '{}'; hunch reads gpt2 (byte-level BPE), llama (SentencePiece BPE), t5 (unigram) and "
       "bert (WordPiece)",
       printable(model));
}

const char* model_of(TokenizerKind kind) {
  switch (kind) {
    case TokenizerKind::kByteBpe: return "gpt2";
    case TokenizerKind::kSentencePieceBpe: return "llama";
    case TokenizerKind::kUnigram: return "t5";
    case TokenizerKind::kWordPiece: return "bert";
  }
  return "";
}

// Ids that a file gives but the vocabulary does not have mean "none" (often written as 2^32 - 1).
std::optional<int32_t> special_id(const Metadata& meta, const char* key, size_t n_vocab) {
  if (!meta.has(key)) return std::nullopt;
  const int64_t id = meta.get_int(key);
  if (id < 0 || static_cast<uint64_t>(id) >= n_vocab) return std::nullopt;
  return static_cast<int32_t>(id);
}

void read_types(const Metadata& meta, TokenizerSpec& spec) {
  const size_t n = spec.pieces.size();
  if (!meta.has(kTypes)) {
    spec.types.assign(n, TokenType::kNormal);
    return;
  }
  const std::vector<int64_t> types = meta.get_ints(kTypes);
  if (types.size() != n) fail(ErrorKind::kFormat, "{} has {} entries for {} tokens", kTypes, types.size(), n);
  for (int64_t type : types) {
    const bool known = type >= 0 && type <= static_cast<int64_t>(TokenType::kByte);
    spec.types.push_back(known ? static_cast<TokenType>(type) : TokenType::kUndefined);
  }
}

// SentencePiece vocabularies without types (old files): the names that every one of them uses.
void guess_types(TokenizerSpec& spec) {
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const std::string& p = spec.pieces[i];
    if (p == "<unk>") spec.types[i] = TokenType::kUnknown;
    if (p == "<s>" || p == "</s>") spec.types[i] = TokenType::kControl;
    if (p.size() == 6 && p.starts_with("<0x") && p[5] == '>') spec.types[i] = TokenType::kByte;
  }
}

void read_own_keys(const Metadata& meta, TokenizerSpec& spec) {
  spec.prefix_first_only = meta.get_bool(kOwnPrefixFirst, false);
  spec.prefix_unless_space = meta.get_bool(kOwnPrefixUnlessSpace, false);
  if (meta.has(kOwnNormalizers)) {
    const std::vector<std::string>& s = meta.get_strings(kOwnNormalizers);
    if (s.size() % 3 != 0) fail(ErrorKind::kFormat, "{} has {} entries, not three a step", kOwnNormalizers, s.size());
    for (size_t i = 0; i < s.size(); i += 3) {
      int kind = -1;
      const auto parsed = std::from_chars(s[i].data(), s[i].data() + s[i].size(), kind);
      if (parsed.ec != std::errc() || parsed.ptr != s[i].data() + s[i].size() || kind < 0 ||
          kind >= NormalizerStep::kNKinds)
        fail(ErrorKind::kFormat, "{}: unknown step '{}'", kOwnNormalizers, printable(s[i]));
      spec.normalizers.push_back({static_cast<NormalizerStep::Kind>(kind), s[i + 1], s[i + 2]});
    }
  }
  if (meta.has(kOwnReaches)) {
    const std::vector<int64_t> r = meta.get_ints(kOwnReaches);
    if (r.size() % 2 != 0) fail(ErrorKind::kFormat, "{} has {} entries, not two a token", kOwnReaches, r.size());
    for (size_t i = 0; i < r.size(); i += 2) {
      if (r[i] < 0 || static_cast<uint64_t>(r[i]) >= spec.pieces.size()) {
        fail(ErrorKind::kFormat, "{}: token {} is outside the vocabulary", kOwnReaches, r[i]);
      }
      const int64_t flags = r[i + 1];
      spec.reaches.push_back(
          {static_cast<int32_t>(r[i]), (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0, (flags & 8) != 0});
    }
  }
  if (meta.has(kOwnEnds)) {
    for (int64_t id : meta.get_ints(kOwnEnds)) {
      if (id >= 0 && static_cast<uint64_t>(id) < spec.pieces.size()) spec.extra_eog.push_back(static_cast<int32_t>(id));
    }
  }
}

void read_byte_bpe(const Metadata& meta, TokenizerSpec& spec) {
  if (meta.has(kOwnPatterns)) {
    spec.pre_patterns = meta.get_strings(kOwnPatterns);
  } else if (meta.has(kPre)) {
    spec.pre = meta.get_string(kPre);
  } else {
    spec.pre = "gpt-2";
    spec.note = "the file does not name its pre-tokeniser (tokenizer.ggml.pre); gpt-2's is assumed";
  }
  const PreTokenizerFamily& family = pre_tokenizer_family(spec.pre_patterns.empty() ? spec.pre : "default");
  spec.ignore_merges = meta.get_bool(kOwnIgnoreMerges, family.ignore_merges);
  spec.nfc = meta.get_bool(kOwnNfc, family.nfc);
  spec.add_bos = family.add_bos;
  if (!meta.has(kMerges))
    fail(ErrorKind::kFormat, "{} is missing: text cannot be cut as it was in training; convert the model anew",
         kMerges);
  spec.merges = meta.get_strings(kMerges);
}

void read_sentencepiece(const Metadata& meta, TokenizerSpec& spec) {
  const bool is_bpe = spec.kind == TokenizerKind::kSentencePieceBpe;
  if (!meta.has(kTypes)) guess_types(spec);
  if (meta.has(kScores)) {
    spec.scores = meta.get_floats(kScores);
    if (spec.scores.size() != spec.pieces.size()) {
      fail(ErrorKind::kFormat, "{} has {} entries for {} tokens", kScores, spec.scores.size(), spec.pieces.size());
    }
  }
  if (is_bpe && meta.has(kMerges)) spec.merges = meta.get_strings(kMerges);
  if (meta.has(kOwnPatterns)) spec.pre_patterns = meta.get_strings(kOwnPatterns);
  if (meta.has(kCharsmap)) {
    for (int64_t byte : meta.get_ints(kCharsmap)) spec.charsmap += static_cast<char>(byte & 0xff);
  }
  spec.nfc = meta.get_bool(kOwnNfc, false);
  spec.add_space_prefix = true;
  spec.add_bos = is_bpe;
  spec.add_eos = !is_bpe;
  spec.byte_fallback = std::ranges::find(spec.types, TokenType::kByte) != spec.types.end();
  const auto by_default = [&](const char* key, std::optional<int32_t>& id, int32_t value) {
    if (!meta.has(key) && static_cast<size_t>(value) < spec.pieces.size()) id = value;
  };
  if (is_bpe) {
    by_default("tokenizer.ggml.bos_token_id", spec.bos, 1);
    by_default("tokenizer.ggml.eos_token_id", spec.eos, 2);
    by_default("tokenizer.ggml.unknown_token_id", spec.unk, 0);
  } else {
    by_default("tokenizer.ggml.eos_token_id", spec.eos, 1);
    by_default("tokenizer.ggml.unknown_token_id", spec.unk, 2);
  }
}

void read_wordpiece(const Metadata& meta, TokenizerSpec& spec) {
  const auto id_of = [&](const char* key, std::optional<int32_t>& id, std::string_view usual) {
    if (const auto said = special_id(meta, key, spec.pieces.size())) id = said;
    if (id) return;
    if (const auto it = std::ranges::find(spec.pieces, usual); it != spec.pieces.end())
      id = int32_t(it - spec.pieces.begin());
  };
  id_of(kClsId, spec.bos, "[CLS]");
  id_of(kSepId, spec.eos, "[SEP]");
  id_of("tokenizer.ggml.unknown_token_id", spec.unk, "[UNK]");
  std::optional<int32_t> pad = spec.pad, mask;
  id_of("tokenizer.ggml.padding_token_id", pad, "[PAD]");
  id_of("tokenizer.ggml.mask_token_id", mask, "[MASK]");
  for (TokenType& type : spec.types)
    if (type == TokenType::kUndefined) type = TokenType::kNormal;
  for (const auto& id : {spec.bos, spec.eos, pad, mask})
    if (id) spec.types[size_t(*id)] = TokenType::kControl;
  if (spec.unk) spec.types[size_t(*spec.unk)] = TokenType::kUnknown;
  for (size_t i = 0; i < spec.pieces.size(); ++i) spec.pieces[i] = piece_from_gguf(spec.pieces[i], spec.types[i]);
  spec.add_bos = spec.bos.has_value();
  spec.add_eos = spec.eos.has_value();
  spec.add_space_prefix = true;
  spec.max_word_chars = meta.get_uint(kOwnMaxWord, spec.max_word_chars);
  if (!meta.has(kOwnNormalizers)) spec.normalizers = steps_of(guess_bert_normalizer(spec));
}

}  // namespace

TokenizerSpec tokenizer_spec_from_gguf(const Metadata& meta) {
  if (!meta.has(kModel) || !meta.has(kTokens)) {
    fail(ErrorKind::kNotFound,
         "the model file has no tokenizer ({} and {}); convert it together with its tokenizer files", kModel, kTokens);
  }
  TokenizerSpec spec;
  spec.kind = kind_of(meta.get_string(kModel));
  spec.pieces = meta.get_strings(kTokens);
  read_types(meta, spec);
  for (const SpecialId& special : kSpecialIds) spec.*special.member = special_id(meta, special.key, spec.pieces.size());
  if (const auto eom = special_id(meta, kEomId, spec.pieces.size())) spec.extra_eog.push_back(*eom);
  if (spec.kind == TokenizerKind::kByteBpe) {
    read_byte_bpe(meta, spec);
  } else if (spec.kind == TokenizerKind::kWordPiece) {
    read_wordpiece(meta, spec);
  } else {
    read_sentencepiece(meta, spec);
  }
  spec.add_bos = meta.get_bool(kAddBos, spec.add_bos);
  spec.add_eos = meta.get_bool(kAddEos, spec.add_eos);
  spec.add_space_prefix = meta.get_bool(kAddSpace, spec.add_space_prefix);
  spec.remove_extra_whitespaces = meta.get_bool(kSqueeze, false);
  spec.chat_template = meta.get_string(kTemplate, "");
  read_own_keys(meta, spec);
  if (meta.has(kOwnNote)) spec.note = meta.get_string(kOwnNote);
  return spec;
}

void write_tokenizer_to_gguf(const TokenizerSpec& spec, Metadata& meta) {
  const bool byte_level = spec.kind == TokenizerKind::kByteBpe, wordpiece = spec.kind == TokenizerKind::kWordPiece;
  meta.set(kModel, std::string(model_of(spec.kind)));
  const bool named = byte_level && spec.pre_patterns.empty();
  const PreTokenizerFamily& family = pre_tokenizer_family(named ? spec.pre : "default");
  meta.set(kPre, std::string(family.name));
  std::vector<std::string> pieces = spec.pieces;
  for (size_t i = 0; wordpiece && i < pieces.size(); ++i) pieces[i] = piece_to_gguf(pieces[i], spec.types[i]);
  meta.set(kTokens, MetaArray(std::move(pieces)));
  std::vector<int32_t> types;
  for (TokenType type : spec.types) types.push_back(static_cast<int32_t>(type));
  meta.set(kTypes, MetaArray(std::move(types)));
  if (!spec.scores.empty()) meta.set(kScores, MetaArray(spec.scores));
  if (!spec.merges.empty() || byte_level) meta.set(kMerges, MetaArray(spec.merges));
  for (const SpecialId& special : kSpecialIds) {
    if (spec.*special.member) meta.set(special.key, static_cast<uint32_t>(*(spec.*special.member)));
  }
  if (wordpiece) {
    if (spec.bos) meta.set(kClsId, static_cast<uint32_t>(*spec.bos));
    if (spec.eos) meta.set(kSepId, static_cast<uint32_t>(*spec.eos));
    if (spec.max_word_chars != TokenizerSpec().max_word_chars) meta.set(kOwnMaxWord, uint64_t{spec.max_word_chars});
  }
  meta.set(kAddBos, spec.add_bos);
  meta.set(kAddEos, spec.add_eos);
  meta.set(kAddSpace, spec.add_space_prefix);
  if (spec.remove_extra_whitespaces) meta.set(kSqueeze, true);
  if (!spec.charsmap.empty()) {
    meta.set(kCharsmap, MetaArray(std::vector<uint8_t>(spec.charsmap.begin(), spec.charsmap.end())));
  }
  if (!spec.chat_template.empty()) meta.set(kTemplate, spec.chat_template);

  if (!spec.pre_patterns.empty()) meta.set(kOwnPatterns, MetaArray(spec.pre_patterns));
  if (byte_level && spec.ignore_merges != family.ignore_merges) meta.set(kOwnIgnoreMerges, spec.ignore_merges);
  if (spec.nfc != (byte_level && family.nfc)) meta.set(kOwnNfc, spec.nfc);
  if (spec.prefix_first_only) meta.set(kOwnPrefixFirst, true);
  if (spec.prefix_unless_space) meta.set(kOwnPrefixUnlessSpace, true);
  if (wordpiece ? spec.normalizers != steps_of(guess_bert_normalizer(spec)) : !spec.normalizers.empty()) {
    std::vector<std::string> steps;
    for (const NormalizerStep& step : spec.normalizers) {
      steps.insert(steps.end(), {std::to_string(static_cast<int>(step.kind)), step.from, step.to});
    }
    meta.set(kOwnNormalizers, MetaArray(std::move(steps)));
  }
  if (!spec.reaches.empty()) {
    std::vector<int32_t> reaches;
    for (const TokenReach& r : spec.reaches) {
      const int flags = (r.lstrip ? 1 : 0) | (r.rstrip ? 2 : 0) | (r.single_word ? 4 : 0) | (r.verbatim ? 8 : 0);
      reaches.insert(reaches.end(), {r.id, flags});
    }
    meta.set(kOwnReaches, MetaArray(std::move(reaches)));
  }
  if (!spec.extra_eog.empty()) meta.set(kOwnEnds, MetaArray(spec.extra_eog));
  if (!spec.note.empty()) meta.set(kOwnNote, spec.note);
}

}  // namespace hunch
