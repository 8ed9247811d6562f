// Whose keys and values these are.
#pragma once
#include <string>

#include "io/model_file.h"
#include "state/kv_cache.h"

namespace hunch::serve {

// A name, in hexadecimal, of what keys depend on besides the text: the model's weights, its configuration, and how the
// cache stores them.
std::string cache_key(const ModelFile& model, const KvShape& shape);

}  // namespace hunch::serve
