// llama2.c `model.bin`, legacy export (version 0): seven int32, then float32 weights in a fixed
// order; and its `tokenizer.bin`. Source: https://github.com/karpathy/llama2.c (run.c, export.py).
#pragma once
#include <span>

#include "io/model_file.h"

namespace hunch {

// Builds a GGUF-shaped llama model (general.architecture "llama", GGUF tensor names, views into
// `model`, SentencePiece-BPE tokenizer metadata from `tokenizer`, which may be empty). llama2.c rotates neighbouring
// pairs, as GGUF llama files do, so Q and K rows are taken as they are. Throws Error{kFormat} when the sizes do not add
// up.
ModelFile parse_llama2c(std::span<const std::byte> model, std::span<const std::byte> tokenizer);

}  // namespace hunch
