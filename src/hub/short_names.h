// Short names of well-known models: "qwen3:0.6b" for "Qwen/Qwen3-0.6B-GGUF:Q8_0". The table is short_names.cc.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace hunch {

struct ShortName {
  std::string_view name;  // FAMILY:SIZE, or a family alone; lower case
  std::string_view id;    // as parse_hub_id takes it
  std::string_view size;  // what is fetched, about: "0.6 GB"
  std::string_view note;  // "chat", or what else it is
};

// All of them, families together, each from small to large.
std::span<const ShortName> short_names();

// The one of this name, whatever its case; nullptr for every other text.
const ShortName* find_short_name(std::string_view text);

// The id that `text` stands for: the table's, else `text` itself.
std::string expand_short_name(std::string_view text);

}  // namespace hunch
