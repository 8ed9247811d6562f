// NumPy's .npy files, version 1.0, written.
#pragma once
#include <cstddef>
#include <string>

namespace hunch::cli {

// The header of a C-ordered little-endian float32 array [rows, cols]; the data follows it.
std::string npy_header(size_t rows, size_t cols);

}  // namespace hunch::cli
