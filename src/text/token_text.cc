#include "text/token_text.h"

#include "text/byte_alphabet.h"
#include "text/space_mark.h"
#include "text/wordpiece.h"

namespace hunch {

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

std::vector<std::string> token_texts(const TokenizerSpec& spec) {
  const bool byte_level = spec.kind == TokenizerKind::kByteBpe;
  std::vector<std::string> texts;
  texts.reserve(spec.pieces.size());
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const std::string& piece = spec.pieces[i];
    const TokenType type = spec.types[i];
    const bool literal = type == TokenType::kControl || type == TokenType::kUnknown;
    const int byte = type == TokenType::kByte ? byte_of_piece(piece) : -1;
    if (byte >= 0) {
      texts.emplace_back(1, static_cast<char>(byte));
    } else if (literal || (byte_level && type == TokenType::kUserDefined)) {
      texts.push_back(piece);
    } else if (spec.kind == TokenizerKind::kWordPiece) {
      const bool goes_on = piece.starts_with(kContinuation) && type != TokenType::kUserDefined;
      texts.push_back(goes_on ? piece.substr(kContinuation.size()) : " " + piece);
    } else if (byte_level) {
      texts.push_back(from_byte_alphabet(piece).value_or(piece));
    } else {
      texts.push_back(from_space_marks(piece));
    }
  }
  return texts;
}

}  // namespace hunch
