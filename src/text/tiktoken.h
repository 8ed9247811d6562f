// tiktoken rank files: a line "base64 rank" per token. Llama-3's original tokenizer.model is one.
#pragma once
#include <string_view>

#include "text/tokenizer.h"

namespace hunch {

// True when the bytes begin with such a line.
bool is_tiktoken(std::string_view bytes);

// Parses the ranks: a byte-level BPE whose merges are all ways to make a token of two others, best rank
// first. A file of 128,000 ranks is Llama-3's and gets its 256 special tokens and BOS rule. Throws
// Error{kFormat} for a malformed line or ranks that are not 0 ... n-1.
TokenizerSpec parse_tiktoken(std::string_view bytes);

}  // namespace hunch
