// NumPy's .npy files, version 1.0, written.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace hunch::cli {

// The header of an array in C order, of NumPy's type `descr` ("<f4": little-endian float32); the data follows it.
std::string npy_header(const char* descr, const std::vector<size_t>& shape);

}  // namespace hunch::cli
