#include "text/sentencepiece_model.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "text/space_mark.h"

namespace hunch {
namespace {

// One field of a protocol buffer message.
struct Field {
  uint32_t number = 0;
  uint64_t integer = 0;   // varint and fixed fields
  std::string_view data;  // length-delimited fields
  bool is_data = false;
};

class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}

  // The next field, or false at the end.
  bool next(Field& field) {
    if (bytes_.empty()) return false;
    const uint64_t tag = varint();
    field = {static_cast<uint32_t>(tag >> 3), 0, {}, false};
    if (field.number == 0) broken("a field number of zero");
    switch (tag & 7) {
      case 0: field.integer = varint(); break;
      case 1: field.integer = fixed(8); break;
      case 2:
        field.data = take(varint());
        field.is_data = true;
        break;
      case 5: field.integer = fixed(4); break;
      default: broken("an unknown wire type");
    }
    return true;
  }

 private:
  std::string_view bytes_;

  [[noreturn]] static void broken(const char* what) {
    fail(ErrorKind::kFormat, "tokenizer.model is not a SentencePiece model: {}", what);
  }

  std::string_view take(uint64_t n) {
    if (n > bytes_.size()) broken("a field that passes the end");
    const std::string_view out = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return out;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    broken("a number of more than ten bytes");
  }

  uint64_t fixed(size_t n) {
    uint64_t value = 0;
    const std::string_view bytes = take(n);
    for (size_t i = 0; i < n; ++i) value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    return value;
  }
};

// Field numbers of the messages.
enum : uint32_t { kModelPieces = 1, kModelTrainer = 2, kModelNormalizer = 3 };
enum : uint32_t { kPieceText = 1, kPieceScore = 2, kPieceType = 3 };
enum : uint32_t {
  kTrainerModelType = 3,
  kTrainerSuffix = 24,
  kTrainerByteFallback = 35,
  kTrainerUnk = 40,
  kTrainerBos = 41,
  kTrainerEos = 42,
  kTrainerPad = 43
};
enum : uint32_t { kNormCharsmap = 2, kNormDummyPrefix = 3, kNormSqueeze = 4, kNormEscape = 5 };
enum : uint64_t { kUnigramModel = 1, kBpeModel = 2 };

void read_piece(std::string_view bytes, TokenizerSpec& spec) {
  std::string text;
  float score = 0;
  uint64_t type = static_cast<uint64_t>(TokenType::kNormal);
  Message message(bytes);
  for (Field f; message.next(f);) {
    if (f.number == kPieceText && f.is_data) text = f.data;
    if (f.number == kPieceScore) score = std::bit_cast<float>(static_cast<uint32_t>(f.integer));
    if (f.number == kPieceType) type = f.integer;
  }
  if (type < 1 || type > 6) {
    fail(ErrorKind::kFormat, "tokenizer.model: piece {} has the unknown type {}", spec.pieces.size(), type);
  }
  spec.pieces.push_back(std::move(text));
  spec.scores.push_back(score);
  spec.types.push_back(static_cast<TokenType>(type));  // the numbers are the same
}

struct Ids {
  int64_t unk = 0, bos = 1, eos = 2, pad = -1;
};

void read_trainer(std::string_view bytes, TokenizerSpec& spec, Ids& ids) {
  uint64_t model_type = kUnigramModel;
  Message message(bytes);
  for (Field f; message.next(f);) {
    const auto id = static_cast<int64_t>(static_cast<int32_t>(f.integer));
    switch (f.number) {
      case kTrainerModelType: model_type = f.integer; break;
      case kTrainerByteFallback: spec.byte_fallback = f.integer != 0; break;
      case kTrainerUnk: ids.unk = id; break;
      case kTrainerBos: ids.bos = id; break;
      case kTrainerEos: ids.eos = id; break;
      case kTrainerPad: ids.pad = id; break;
      case kTrainerSuffix:
        if (f.integer != 0) fail(ErrorKind::kUnsupported, "tokenizer.model treats white space as a suffix");
        break;
      default: break;
    }
  }
  if (model_type == kUnigramModel) {
    spec.kind = TokenizerKind::kUnigram;
  } else if (model_type == kBpeModel) {
    spec.kind = TokenizerKind::kSentencePieceBpe;
  } else {
    fail(ErrorKind::kUnsupported, "tokenizer.model is of type {}; hunch reads unigram (1) and BPE (2)", model_type);
  }
}

void read_normalizer(std::string_view bytes, TokenizerSpec& spec) {
  Message message(bytes);
  for (Field f; message.next(f);) {
    switch (f.number) {
      case kNormCharsmap: spec.charsmap = f.data; break;
      case kNormDummyPrefix: spec.add_space_prefix = f.integer != 0; break;
      case kNormSqueeze: spec.remove_extra_whitespaces = f.integer != 0; break;
      case kNormEscape:
        if (f.integer == 0) fail(ErrorKind::kUnsupported, "tokenizer.model does not escape white space");
        break;
      default: break;
    }
  }
}

// User-defined pieces are spelt with spaces in GGUF files.
void spell_user_defined(TokenizerSpec& spec) {
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.types[i] == TokenType::kUserDefined) spec.pieces[i] = from_space_marks(spec.pieces[i]);
  }
}

}  // namespace

TokenizerSpec parse_sentencepiece_model(std::string_view bytes) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kUnigram;  // the proto's defaults
  spec.add_space_prefix = true;
  spec.remove_extra_whitespaces = true;
  Ids ids;
  Message message(bytes);
  for (Field f; message.next(f);) {
    if (!f.is_data) continue;
    if (f.number == kModelPieces) read_piece(f.data, spec);
    if (f.number == kModelTrainer) read_trainer(f.data, spec, ids);
    if (f.number == kModelNormalizer) read_normalizer(f.data, spec);
  }
  if (spec.pieces.empty()) fail(ErrorKind::kFormat, "tokenizer.model has no pieces");
  spell_user_defined(spec);
  // Byte pieces are only ever made with byte fallback on.
  spec.byte_fallback = std::ranges::find(spec.types, TokenType::kByte) != spec.types.end();
  const auto id_if_any = [&](int64_t id) {
    return id >= 0 && static_cast<uint64_t>(id) < spec.pieces.size() ? std::optional(static_cast<int32_t>(id))
                                                                     : std::nullopt;
  };
  spec.unk = id_if_any(ids.unk);
  spec.bos = id_if_any(ids.bos);
  spec.eos = id_if_any(ids.eos);
  spec.pad = id_if_any(ids.pad);
  return spec;
}

}  // namespace hunch
