// Matrices in blocks whose inputs stand in another order than the model's, so that neighbours share a scale: GPTQ in
// activation order (g_idx). In a file two tensors instead of NAME.weight:
//
//   NAME.ordered      blocks [n_out, n_in]; of a layer's experts [n_expert, n_out, n_in]
//   NAME.input_order  I32 [1, n_in]: column j of the blocks is input number order[j]
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_file.h"

namespace hunch {

using InputOrder = std::vector<uint32_t>;
using InputOrders = std::map<std::string, InputOrder, std::less<>>;  // by NAME.weight

inline std::string ordered_blocks(const std::string& name) { return name + ".ordered"; }
inline std::string input_order(const std::string& name) { return name + ".input_order"; }
bool is_input_order(std::string_view tensor);
// NAME, if the tensor is the blocks of such a matrix; else "".
std::string_view ordered_name(std::string_view tensor);
// Whether NAME stands in the file this way.
inline bool has_ordered(const ModelFile& file, const std::string& name) {
  return file.find(ordered_blocks(name)) != nullptr;
}

// The order of the matrix whose blocks these are. Throws Error{kFormat | kNotFound} naming the tensor that is missing
// or no order of the blocks' columns, or where the file has NAME.weight too.
InputOrder read_input_order(const ModelFile& file, const Tensor& blocks);
// Names all such blocks NAME.weight, takes the orders out of the file and returns them. Throws as read_input_order().
InputOrders take_input_orders(ModelFile& file);

// A row of such a matrix, decoded, as the model knows it: row[order[j]] becomes row[j]. `scratch` is resized.
void put_in_place(std::span<const uint32_t> order, std::span<float> row, std::vector<float>& scratch);

}  // namespace hunch
