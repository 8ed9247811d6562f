// Pruned matrices without their zeros in a file: instead of the tensor NAME.weight there are three of plain types, as
// formats/sparse_rows.h has them. Every reader of GGUF sees what they are.
//
//   NAME.sparse_mask    I8 [n_out, n_in / 8]; of a layer's experts [n_expert, n_out, n_in / 8]
//   NAME.sparse_TYPE    the values of one row after the other, TYPE being that of the blocks which they are the numbers
//                       of: I8 [bytes] of q8_0 and q4_0, F16 [n] of f16
//   NAME.sparse_scales  F16 [n_out, n_in / span]; of experts [n_expert, n_out, n_in / span]; none of f16
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/sparse_rows.h"
#include "io/model_file.h"

namespace hunch {

inline std::string sparse_mask(const std::string& name) { return name + ".sparse_mask"; }
inline std::string sparse_scales(const std::string& name) { return name + ".sparse_scales"; }
std::string sparse_values(const std::string& name, DType dtype);

// A matrix, or those of a layer's experts one after the other.
struct SparseTensor {
  std::string name;                              // NAME.weight
  std::vector<uint64_t> shape;                   // as that of the dense tensor
  SparseRows rows;                               // all of them
  std::vector<size_t> offsets;                   // of the rows' values
  std::vector<std::span<const std::byte>> data;  // of its tensors

  SparseRows part(size_t first, size_t n) const;
  size_t bytes() const;
};

// Whether NAME stands in the file this way.
bool has_sparse(const ModelFile& file, const std::string& name);
// The matrix. Throws Error{kFormat} naming the tensor whose type, shape or length does not go with the mask.
SparseTensor read_sparse(const ModelFile& file, const std::string& name);
// NAME, if the tensor is the mask of such a matrix.
std::optional<std::string> masked_name(std::string_view tensor);
// Whether the tensor is one of the three.
bool is_sparse_part(std::string_view tensor);

// What a tensor of a file stands for, for whoever counts weights and types: the mask for all weights of its matrix, the
// other two for none, an order of inputs for none; all three for the type of the values.
uint64_t n_weights(const Tensor& tensor);
DType dtype_of_weights(const ModelFile& file, const Tensor& tensor);

}  // namespace hunch
