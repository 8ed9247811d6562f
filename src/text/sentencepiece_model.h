// SentencePiece's tokenizer.model: a protocol buffer with pieces, scores and normalisation rules.
// Format: sentencepiece_model.proto of github.com/google/sentencepiece.
#pragma once
#include <string_view>

#include "text/tokenizer.h"

namespace hunch {

// Parses a model's bytes. Whether BOS and EOS are added is not in the file: add_bos and add_eos stay
// false. Throws Error{kFormat} for truncated or contradictory input, and Error{kUnsupported} for word
// and character models and for white space as a suffix.
TokenizerSpec parse_sentencepiece_model(std::string_view bytes);

}  // namespace hunch
