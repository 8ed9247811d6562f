// vocab.json + merges.txt, the files of GPT-2's own tokenizer (and OPT's, and many of its kind).
#pragma once
#include <string_view>

#include "text/tokenizer.h"

namespace hunch {

// Parses the two files' bytes: a byte-level BPE without special tokens; `pre` is left empty. Throws
// Error{kFormat} for input that is not JSON, ids out of proportion, or a merge that is not two pieces.
TokenizerSpec parse_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt);

}  // namespace hunch
