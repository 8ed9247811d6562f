// What lies where a model's file should be.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace hunch {

// For the end of an error about a file that is not of its format: "; it is a Git LFS pointer ..." where the bytes are
// something else that is often met in its place, with the way to the file; else "".
std::string stand_in_text(std::span<const std::byte> bytes);

}  // namespace hunch
