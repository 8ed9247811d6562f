// The name of a model on the hub, as a person types it: ORG/NAME[@REVISION][:FILE-OR-QUANT].
#pragma once
#include <string>
#include <string_view>

namespace hunch {

// "bartowski/Qwen-GGUF@main:Q4_0" taken apart.
struct HubId {
  std::string repo;      // "org/name", or one word for the hub's oldest models ("gpt2")
  std::string revision;  // branch, tag or commit; empty when not given
  std::string
      selector;  // a file of the repository ("model-q4_0.gguf") or a quantisation ("Q4_0"); empty when not given
};

// Takes an id apart and checks each piece against the hub's rules. Throws Error{kUsage} naming the
// piece that cannot be meant.
HubId parse_hub_id(std::string_view text);

// True for "org/name", optionally with "@revision" and ":file-or-quant". Relative paths may look the
// same ("models/demo"): ask the file system first. Names ending in ".gguf" or ".bin" are taken for files.
bool looks_like_hub_id(std::string_view text);

// True when a name that came from outside may be joined to a folder of ours: relative, '/'-separated,
// no empty, "." or ".." component, no backslash, no control character, components of at most 255 bytes.
bool is_safe_relative_path(std::string_view path);

}  // namespace hunch
