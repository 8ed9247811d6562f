// What llama.cpp calls its options, and what becomes of each here.
#pragma once
#include <string_view>
#include <vector>

namespace hunch::cli {

enum class Fate {
  kSame,      // `text` is hunch's option
  kModel,     // the value is MODEL
  kDrop,      // the answer is the same without it; `text` says why
  kDropFlag,  // the same, of an option that has no value
  kRefuse,    // the answer would be another; `text` says what to do
};

struct Foreign {
  std::vector<std::string_view> names;
  Fate fate;
  const char* text;
  std::vector<std::string_view> values = {};  // what alone is a value; none: anything
};

// Those that mean something only where hunch has the option come first: `-np` is `--parallel` of serve, and nothing to
// others.
const std::vector<Foreign>& options_of_llama_cpp();

}  // namespace hunch::cli
