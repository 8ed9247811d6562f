#include "io/ordered_tensors.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {
constexpr std::string_view kOrdered = ".ordered", kInputOrder = ".input_order";
}  // namespace

bool is_input_order(std::string_view tensor) { return tensor.ends_with(kInputOrder); }

std::string_view ordered_name(std::string_view tensor) {
  return tensor.ends_with(kOrdered) ? tensor.substr(0, tensor.size() - kOrdered.size()) : std::string_view();
}

InputOrder read_input_order(const ModelFile& file, const Tensor& blocks) {
  const std::string name(ordered_name(blocks.name));
  if (file.find(name + ".weight"))
    fail(ErrorKind::kFormat, "the file has both '{}.weight' and '{}'", printable(name), printable(blocks.name));
  if (blocks.shape.size() < 2)
    fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected a matrix", printable(blocks.name),
         fmt::join(blocks.shape, ", "));
  const Tensor& stored = file.get(input_order(name));
  if (stored.dtype != DType::kI32 || stored.n_elems() != blocks.cols())
    fail(ErrorKind::kFormat, "tensor '{}' is {} [{}], expected i32 [1, {}]: the order of the inputs of '{}'",
         printable(stored.name), name_of(stored.dtype), fmt::join(stored.shape, ", "), blocks.cols(),
         printable(blocks.name));
  InputOrder order(blocks.cols());
  std::ranges::copy(stored.data, std::as_writable_bytes(std::span(order)).begin());
  std::vector<bool> seen(order.size());
  for (const uint32_t i : order) {
    if (i >= order.size() || seen[i])
      fail(ErrorKind::kFormat, "tensor '{}' is no order of {} inputs: {} is there twice, or is none of them",
           printable(stored.name), order.size(), i);
    seen[i] = true;
  }
  return order;
}

InputOrders take_input_orders(ModelFile& file) {
  InputOrders orders;
  for (const Tensor& t : file.tensors)
    if (const std::string_view name = ordered_name(t.name); !name.empty())
      orders.emplace(std::string(name) + ".weight", read_input_order(file, t));
  if (orders.empty()) return orders;
  std::erase_if(file.tensors, [](const Tensor& t) { return is_input_order(t.name); });
  for (Tensor& t : file.tensors)
    if (const std::string_view name = ordered_name(t.name); !name.empty()) t.name = std::string(name) + ".weight";
  file.index();
  return orders;
}

void put_in_place(std::span<const uint32_t> order, std::span<float> row, std::vector<float>& scratch) {
  scratch.assign(row.begin(), row.end());
  for (size_t j = 0; j < order.size(); ++j) row[order[j]] = scratch[j];
}

}  // namespace hunch
