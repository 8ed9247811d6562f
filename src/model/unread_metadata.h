// Keys of a GGUF file that say something of the model and that nobody reads.
#pragma once
#include <string>
#include <vector>

#include "io/model_file.h"

namespace hunch {

// Keys "<arch>.*" that config_from_gguf() does not ask for, and "tokenizer.*" that the tokenizer does not, and that are
// not known to leave the computation alone: what they say is not done. None of a file that config_from_gguf() refuses.
std::vector<std::string> unread_metadata(const ModelFile& file);

}  // namespace hunch
