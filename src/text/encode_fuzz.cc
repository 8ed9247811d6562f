// Arbitrary bytes as a text: a byte-level BPE and a SentencePiece BPE with byte fallback give it back,
// whole and through the stream decoder, and the stream is always valid UTF-8. WordPiece, which forgets spaces, gives
// ids of its vocabulary, and what it gives back is cut into the same ids again where none is unknown.
#include <algorithm>
#include <cstdlib>

#include "text/byte_alphabet.h"
#include "text/space_mark.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

namespace {

using namespace hunch;

Tokenizer byte_bpe() {
  TokenizerSpec spec;
  spec.pre = "llama-bpe";
  for (int b = 0; b < 256; ++b) spec.pieces.push_back(to_byte_alphabet(std::string(1, static_cast<char>(b))));
  spec.types.assign(256, TokenType::kNormal);
  for (const char* merge : {"a a", "aa aa", "\xc4\xa0 a", "\xc4\xa0 \xc4\xa0", "\xc3\x83 \xc2\xb6", "1 2", "12 3"}) {
    std::string piece = merge;
    piece.erase(piece.find(' ', 1), 1);
    spec.merges.emplace_back(merge);
    spec.pieces.push_back(piece);
    spec.types.push_back(TokenType::kNormal);
  }
  for (const char* special : {"<s>", "  \n"}) {
    spec.pieces.emplace_back(special);
    spec.types.push_back(special[0] == '<' ? TokenType::kControl : TokenType::kUserDefined);
  }
  return Tokenizer(spec);
}

Tokenizer sentencepiece() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kSentencePieceBpe;
  spec.add_space_prefix = true;
  spec.byte_fallback = true;
  const auto add = [&](std::string piece, TokenType type, float score) {
    spec.pieces.push_back(std::move(piece));
    spec.types.push_back(type);
    spec.scores.push_back(score);
  };
  add("<unk>", TokenType::kUnknown, 0);
  for (int b = 0; b < 256; ++b) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    add(std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">", TokenType::kByte, 0);
  }
  float score = 0;
  for (const char* piece : {"\xe2\x96\x81"
                            "a",
                            "aa", "\xe2\x96\x81\xe2\x96\x81", "aaaa", "\xe2\x96\x81", "a", "\xc3\xb6"}) {
    add(piece, TokenType::kNormal, score -= 1);
  }
  add("\n\n", TokenType::kUserDefined, 0);
  spec.unk = 0;
  return Tokenizer(spec);
}

Tokenizer wordpiece() {
  TokenizerSpec spec = parse_wordpiece_vocab(
      "[UNK]\n[CLS]\n[SEP]\na\n##a\n##aa\nb\nab\n##b\n\xc3\xb6\no\n##o\n.\n,\n-\n\xe4\xb8\xad\n1\n##1\n");
  spec.normalizers = steps_of({});
  return Tokenizer(spec);
}

void check_wordpiece(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = false});
  const std::string back = tokenizer.decode(ids);
  if (valid_utf8_prefix(back) != back.size()) std::abort();
  if (std::ranges::count(ids, *tokenizer.spec().unk) == 0 && tokenizer.encode(back, {.add_special = false}) != ids)
    std::abort();
}

// SentencePiece cannot tell a typed U+2581 from a space: `back` is what comes back.
void check(const Tokenizer& tokenizer, std::string_view text, std::string_view back) {
  const std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = false});
  const std::string whole = tokenizer.decode(ids);
  if (whole != back) std::abort();
  StreamDecoder stream(tokenizer);
  std::string streamed;
  for (int32_t id : ids) {
    const std::string part = stream.push(id);
    if (valid_utf8_prefix(part) != part.size()) std::abort();
    streamed += part;
  }
  streamed += stream.finish();
  if (streamed != replace_invalid_utf8(back)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer kByteBpe = byte_bpe(), kSentencePiece = sentencepiece(), kWordPiece = wordpiece();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(kByteBpe, text, text);
  check(kSentencePiece, text, from_space_marks(text));
  check_wordpiece(kWordPiece, text);
  return 0;
}
