// What sentence-transformers keeps beside a Hugging Face model: how one vector is made of the hidden states.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace hunch {

// What 1_Pooling/config.json says: one of its modes is true, or the newer "pooling_mode" names it. nullopt: none is.
// Throws Error{kUnsupported} naming a mode that hunch does not have (max, weighted mean, several joined),
// Error{kFormat} for what is no JSON object.
std::optional<PoolingKind> parse_pooling(std::string_view config_json);

struct HfPooling {
  std::optional<PoolingKind> kind;  // none: the folder does not say
  std::vector<std::string>
      unknown;  // modules that change vectors and that hunch does not compute: "modules.json: Dense"
};

// Of a folder with modules.json. Its "Normalize" needs nothing: vectors are made of length 1 unless someone says
// otherwise. Throws as parse_pooling(), and Error{kFormat} for a module outside the folder.
HfPooling read_hf_pooling(const std::filesystem::path& folder);

}  // namespace hunch
