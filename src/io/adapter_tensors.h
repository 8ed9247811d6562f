// What the readers of adapters share: tensors to f32, and the two halves of a matrix put together.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "io/adapter.h"

namespace hunch {

// All values of a tensor as f32. Throws Error{kUnsupported} for dtypes that do not compute.
std::vector<float> floats_of(const Tensor& tensor);

// One adapted matrix while its tensors are being found, all null at first. `A` and `B` are as the file has them.
struct AdapterParts {
  const Tensor *A = nullptr, *B = nullptr, *magnitude = nullptr;
  bool is_embedding = false;
};

// By the name that the file gives the matrix (module or base tensor).
using PartsByName = std::map<std::string, AdapterParts, std::less<>>;

// Remembers `tensor` as `part`; throws Error{kFormat} where there is one already.
void set_part(const Tensor*& part, const Tensor& tensor);

// Builds the matrix without its scale: checks that there are two halves, that they are matrices and share a rank.
//   linear     A [rank, n_in], B [n_out, rank]
//   embedding  A [rank, n_vocab] or, `flipped`, [n_vocab, rank]; B [n_embd, rank]; the result's B is A transposed
// Throws Error{kFormat | kUnsupported} naming `name`.
AdapterMatrix build_matrix(const std::string& name, const AdapterParts& parts, bool flipped);

}  // namespace hunch
