// Matrices that are stored for rotated inputs (linear/rotated.h). In a file NAME.rotated stands instead of NAME.weight,
// [n_out, n_in] or of a layer's experts [n_expert, n_out, n_in]: every row times a Hadamard matrix of as many values as
// the largest power of two that divides n_in, piece by piece (kernels/hadamard.h), in a type of any kind.
#pragma once
#include <set>
#include <string>
#include <string_view>

#include "io/model_file.h"

namespace hunch {

inline std::string rotated_rows(const std::string& name) { return name + ".rotated"; }
// NAME, if the tensor is such a matrix; else "".
std::string_view rotated_name(std::string_view tensor);
// Whether NAME stands in the file this way.
inline bool has_rotated(const ModelFile& file, const std::string& name) {
  return file.find(rotated_rows(name)) != nullptr;
}

using RotatedNames = std::set<std::string, std::less<>>;  // NAME.weight

// Names all such matrices NAME.weight, and returns these names. Throws Error{kFormat} where the file has NAME.weight
// too, or where it is no matrix.
RotatedNames take_rotated(ModelFile& file);

}  // namespace hunch
