// What each token of a vocabulary adds to a text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace hunch {

// The byte that a SentencePiece byte piece stands for ("<0x0A>" is 10), or -1.
int byte_of_piece(std::string_view piece);

// [n_vocab] the bytes of every token in the middle of a text. spec.types has an entry per piece.
std::vector<std::string> token_texts(const TokenizerSpec& spec);

}  // namespace hunch
