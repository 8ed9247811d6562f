// Where the codes of a block of evenly spaced values lie, so that a weight's code can be chosen by another than the
// format's encoder.
#pragma once
#include <cstddef>

#include "formats/format.h"

namespace hunch {

struct CodeLayout {
  DType dtype;
  int max_code;  // codes are 0 to this; x = a * code + b, with a and b of each 16 neighbours
  // Sets the code of element i, leaving all others and the scales.
  void (*put)(std::byte* block, size_t i, int code);
};

// nullptr: the format's values are not evenly spaced, or it has no blocks.
const CodeLayout* find_code_layout(DType dtype);
// Their names, for messages.
std::vector<std::string> code_layout_names();

}  // namespace hunch
