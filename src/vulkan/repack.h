// Rows of weights as kernels read them (shaders/weights.glsl): groups of eight consecutive elements whatever the
// format, with codes, scales and what else there is in arrays of their own, each aligned as it is read. The numbers are
// the file's; rows of plain types are filled up with zeros to whole groups.
#pragma once
#include <cstddef>
#include <string>

#include "formats/weight_view.h"

namespace hunch::vulkan {

// Bytes that a row takes in each array.
struct RowLayout {
  size_t codes = 0, scales = 0, extra = 0;
  size_t bytes() const { return codes + scales + extra; }
};

// Whether kernels read the format, and those that they do, for messages: "f32, f16, ...".
bool reads_format(DType dtype);
std::string readable_formats();

// A format that kernels read; n_in as the format's blocks demand.
RowLayout row_layout(DType dtype, size_t n_in);

// Writes rows [first, first + n) of W side by side into the three arrays, each row_layout() bytes a row.
void repack_rows(const WeightView& W, size_t first, size_t n, std::byte* codes, std::byte* scales, std::byte* extra);

}  // namespace hunch::vulkan
