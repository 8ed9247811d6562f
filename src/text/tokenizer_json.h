// tokenizer.json of Hugging Face's tokenizers library: normaliser, pre-tokeniser, model, post-processor
// and decoder as a tree of named steps, mapped to a TokenizerSpec.
#pragma once
#include <string_view>

#include "text/tokenizer.h"

namespace hunch {

// Parses the file's bytes. Models BPE (byte-level, or SentencePiece-like with U+2581 and byte fallback),
// Unigram and WordPiece (with BERT's pre-tokeniser). The pre-tokeniser gets the name of the family that has the same
// patterns, or its own patterns. BOS and EOS are what the post-processor's template puts around a text; the other
// special tokens are named in other files. Throws Error{kFormat} for input that is not what the format demands, and
// Error{kUnsupported}, naming the step, for steps that would change the result.
TokenizerSpec parse_tokenizer_json(std::string_view bytes);

}  // namespace hunch
