// How files name the norms before attention and before the MLP.
#pragma once
#include <string>

#include "io/model_file.h"

namespace hunch {

// Without ".weight", as model/weights.cc reads them.
std::string norm_name(const ModelFile& file, size_t layer, bool attention);
// Of a matrix whose weights are converters' `weight`: "blk.0.attn_v.bias" of "blk.0.attn_v.weight".
std::string bias_name(const std::string& weight);

}  // namespace hunch
