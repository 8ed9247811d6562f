#include "text/tokenizer_json.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "io/printable.h"
#include "text/json_number.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json_steps.h"
#include "text/wordpiece.h"

namespace hunch {
namespace {

using namespace tokenizer_json;

// Whether any step of the section has this type.
bool has_step(const Json& section, const char* list_key, const char* type) {
  for (const Json* step : flatten(section, list_key)) {
    if (type_of(*step) == type) return true;
  }
  return false;
}

TokenizerKind kind_of(const Json& file, const Json& model) {
  std::string type = type_of(model);
  if (type.empty()) type = at_or_null(model, "merges").is_array() ? "BPE" : "Unigram";  // files before version 0.12
  if (type == "Unigram") return TokenizerKind::kUnigram;
  if (type == "WordPiece") return TokenizerKind::kWordPiece;
  if (type != "BPE") {
    fail(ErrorKind::kUnsupported, "tokenizer.json: model '{}'; hunch reads BPE, Unigram and WordPiece",
         printable(type));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& affix = at_or_null(model, key);
    if (affix.is_string() && !affix.get<std::string>().empty()) {
      fail(ErrorKind::kUnsupported, "tokenizer.json: BPE with {} '{}'", key, printable(affix.get<std::string>()));
    }
  }
  if (has_step(at_or_null(file, "pre_tokenizer"), "pretokenizers", "ByteLevel") ||
      has_step(at_or_null(file, "normalizer"), "normalizers", "ByteLevel") ||
      has_step(at_or_null(file, "decoder"), "decoders", "ByteLevel")) {
    return TokenizerKind::kByteBpe;
  }
  // SentencePiece as the converters write it: marks for spaces, made by one step or another.
  bool marks =
      flag(model, "byte_fallback", false) || has_step(at_or_null(file, "pre_tokenizer"), "pretokenizers", "Metaspace");
  for (const Json* step : flatten(at_or_null(file, "normalizer"), "normalizers")) {
    marks |= type_of(*step) == "Replace" && at_or_null(*step, "content") == kSpaceMark;
  }
  if (!marks) {
    fail(ErrorKind::kUnsupported,
         "tokenizer.json: a BPE that works neither on bytes (ByteLevel) nor with U+2581 for spaces");
  }
  return TokenizerKind::kSentencePieceBpe;
}

struct Vocabulary {
  TokenizerSpec& spec;
  size_t limit;  // no id reaches this: ids are dense but for a few holes

  void put(int64_t id, std::string piece, TokenType type) {
    if (id < 0 || static_cast<uint64_t>(id) >= limit) {
      fail(ErrorKind::kFormat, "tokenizer.json: '{}' has the id {}, which is out of proportion to the vocabulary",
           printable(piece), id);
    }
    const auto i = static_cast<size_t>(id);
    if (i >= spec.pieces.size()) {
      spec.pieces.resize(i + 1);
      spec.types.resize(i + 1, TokenType::kUnused);
    }
    spec.pieces[i] = std::move(piece);
    spec.types[i] = type;
  }
};

bool is_byte_piece(const std::string& piece) {
  return piece.size() == 6 && piece.starts_with("<0x") && piece[5] == '>' &&
         piece.find_first_not_of("0123456789ABCDEFabcdef", 3) == 5;
}

void read_pieces(const Json& model, Vocabulary vocabulary) {
  TokenizerSpec& spec = vocabulary.spec;
  const Json& vocab = model.at("vocab");
  const auto type_of_piece = [&](const std::string& piece) {
    return spec.byte_fallback && is_byte_piece(piece) ? TokenType::kByte : TokenType::kNormal;
  };
  if (vocab.is_array()) {  // Unigram: [[piece, score], ...]
    for (const Json& entry : vocab) {
      const std::string piece = entry.at(0).get<std::string>();
      const double score = entry.at(1).get<double>();
      if (!(std::abs(score) < 1e30))
        fail(ErrorKind::kFormat, "tokenizer.json: '{}' scores {}", printable(piece), score);
      spec.scores.push_back(static_cast<float>(score));
      vocabulary.put(static_cast<int64_t>(spec.scores.size()) - 1, piece, type_of_piece(piece));
    }
    return;
  }
  for (const auto& [piece, id] : vocab.items())
    vocabulary.put(json_integer(id, "tokenizer.json: vocab"), piece, type_of_piece(piece));
}

void read_wordpiece(const Json& model, TokenizerSpec& spec) {
  const std::string prefix = model.value("continuing_subword_prefix", std::string(kContinuation));
  if (prefix != kContinuation)
    fail(ErrorKind::kUnsupported, "tokenizer.json: WordPiece with '{}' before what goes on with a word, expected '{}'",
         printable(prefix), kContinuation);
  if (const Json& most = at_or_null(model, "max_input_chars_per_word"); !most.is_null())
    spec.max_word_chars = size_t(std::max<int64_t>(0, json_integer(most, "tokenizer.json: max_input_chars_per_word")));
  spec.add_space_prefix = true;
}

void read_added_tokens(const Json& added, Vocabulary vocabulary) {
  TokenizerSpec& spec = vocabulary.spec;
  for (const Json& token : added) {
    const int64_t id = json_integer(token.at("id"), "tokenizer.json: added_tokens");
    const bool special = flag(token, "special", false);
    vocabulary.put(id, token.at("content").get<std::string>(), special ? TokenType::kControl : TokenType::kUserDefined);
    const TokenReach reach{static_cast<int32_t>(id), flag(token, "lstrip", false), flag(token, "rstrip", false),
                           flag(token, "single_word", false),
                           !special && spec.kind != TokenizerKind::kByteBpe && spec.kind != TokenizerKind::kWordPiece &&
                               !flag(token, "normalized", true)};
    if (reach.lstrip || reach.rstrip || reach.single_word || reach.verbatim) spec.reaches.push_back(reach);
  }
}

void read_merges(const Json& merges, TokenizerSpec& spec) {
  if (!merges.is_array()) fail(ErrorKind::kFormat, "tokenizer.json: a BPE model without merges");
  spec.merges.reserve(merges.size());
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      spec.merges.push_back(merge.get<std::string>());
      continue;
    }
    const std::string left = merge.at(0).get<std::string>(), right = merge.at(1).get<std::string>();
    if (left.find(' ', 1) != std::string::npos) {
      fail(ErrorKind::kUnsupported, "tokenizer.json: merge {} has a space inside a piece", spec.merges.size());
    }
    spec.merges.push_back(left + " " + right);
  }
}

// SentencePiece merges come from scores; a file that has the merges only gets scores that rank the same,
// for the readers of GGUF that want them. A piece scores minus the rank of its first merge.
void derive_scores(TokenizerSpec& spec) {
  std::map<std::string_view, size_t> id_of;
  for (size_t i = 0; i < spec.pieces.size(); ++i) id_of.emplace(spec.pieces[i], i);
  spec.scores.assign(spec.pieces.size(), -static_cast<float>(spec.merges.size()));
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.types[i] != TokenType::kNormal) spec.scores[i] = 0;
  }
  std::string piece;
  for (size_t rank = spec.merges.size(); rank-- > 0;) {
    piece = spec.merges[rank];
    const size_t space = piece.find(' ', 1);
    if (space == std::string::npos) continue;  // refused when the tokenizer is built
    piece.erase(space, 1);
    if (const auto it = id_of.find(piece); it != id_of.end()) spec.scores[it->second] = -static_cast<float>(rank);
  }
}

void read_unknown(const Json& model, TokenizerSpec& spec) {
  const Json& id = at_or_null(model, "unk_id");
  const Json& token = at_or_null(model, "unk_token");
  if (id.is_number_integer()) {
    const int64_t n = id.get<int64_t>();
    if (n < 0 || static_cast<uint64_t>(n) >= spec.pieces.size()) {
      fail(ErrorKind::kFormat, "tokenizer.json: unk_id {} is outside the vocabulary", n);
    }
    spec.unk = static_cast<int32_t>(n);
  } else if (token.is_string()) {
    const auto it = std::ranges::find(spec.pieces, token.get<std::string>());
    if (it != spec.pieces.end()) spec.unk = static_cast<int32_t>(it - spec.pieces.begin());
  }
  if (!spec.unk) return;
  if (spec.kind != TokenizerKind::kByteBpe) spec.types[static_cast<size_t>(*spec.unk)] = TokenType::kUnknown;
}

TokenizerSpec parse(const Json& file) {
  const Json& model = at_or_null(file, "model");
  if (!model.is_object()) fail(ErrorKind::kFormat, "tokenizer.json: no 'model'");
  const Json& added = at_or_null(file, "added_tokens");
  TokenizerSpec spec;
  spec.kind = kind_of(file, model);
  const bool byte_level = spec.kind == TokenizerKind::kByteBpe;
  spec.byte_fallback = !byte_level && flag(model, "byte_fallback", false);
  spec.ignore_merges = flag(model, "ignore_merges", false);
  const Vocabulary vocabulary{spec, 2 * (model.at("vocab").size() + added.size()) + 4096};
  read_pieces(model, vocabulary);
  if (spec.byte_fallback) {
    spec.byte_fallback = std::ranges::find(spec.types, TokenType::kByte) != spec.types.end();
  }
  if (added.is_array()) read_added_tokens(added, vocabulary);
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.pieces[i].empty() && spec.types[i] == TokenType::kUnused) spec.pieces[i] = fmt::format("[PAD{}]", i);
  }
  read_unknown(model, spec);
  const bool wordpiece = spec.kind == TokenizerKind::kWordPiece;
  if (wordpiece) read_wordpiece(model, spec);
  if (spec.kind != TokenizerKind::kUnigram && !wordpiece) read_merges(at_or_null(model, "merges"), spec);
  if (spec.kind == TokenizerKind::kSentencePieceBpe) derive_scores(spec);
  if (spec.kind == TokenizerKind::kUnigram) spec.scores.resize(spec.pieces.size(), 0.0f);

  read_normalizer(at_or_null(file, "normalizer"), spec);
  read_pre_tokenizer(at_or_null(file, "pre_tokenizer"), spec);
  read_post_processor(at_or_null(file, "post_processor"), spec);
  read_decoder(at_or_null(file, "decoder"), spec);
  if (byte_level) {
    if (spec.pre_patterns.empty()) spec.pre_patterns = {"(?s).+"};
    if (const PreTokenizerFamily* family = find_pre_tokenizer_family(spec.pre_patterns, spec.ignore_merges, spec.nfc)) {
      spec.pre = family->name;
      spec.pre_patterns.clear();
    }
  }
  return spec;
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view bytes) {
  try {
    const Json file = Json::parse(bytes);
    if (!file.is_object()) fail(ErrorKind::kFormat, "tokenizer.json: expected a JSON object");
    return parse(file);
  } catch (const Json::exception& e) {
    fail(ErrorKind::kFormat, "tokenizer.json: {}", printable(e.what(), 300));
  }
}

}  // namespace hunch
