// Keys of a GGUF file that say something of its tokenizer and that nobody reads.
#pragma once
#include <string>
#include <vector>

#include "io/model_file.h"

namespace hunch {

// Keys "tokenizer.*" that tokenizer_spec_from_gguf() does not ask for and that are not known to leave tokens alone.
std::vector<std::string> unread_tokenizer_keys(const Metadata& meta);

}  // namespace hunch
