#include "io/sparse_tensors.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "io/ordered_tensors.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr std::string_view kMask = ".sparse_mask", kScales = ".sparse_scales", kSparse = ".sparse_";
constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kF16};

[[noreturn]] void wrong(const Tensor& t, const std::string& expected) {
  fail(ErrorKind::kFormat, "tensor '{}': expected {}, the file has {} [{}]", printable(t.name), expected,
       hunch::name_of(t.dtype), fmt::join(t.shape, ", "));
}

// The type of a tensor of values, by its name.
std::optional<DType> type_of_values(std::string_view tensor) {
  for (const DType dtype : kTypes)
    if (tensor.ends_with(std::string(kSparse) + hunch::name_of(dtype))) return dtype;
  return std::nullopt;
}

}  // namespace

std::string sparse_values(const std::string& name, DType dtype) {
  return name + std::string(kSparse) + hunch::name_of(dtype);
}

SparseRows SparseTensor::part(size_t first, size_t n) const {
  SparseRows part = rows;
  part.rows = n;
  part.mask = rows.mask_row(first);
  part.values = rows.values + offsets[first];
  if (rows.span) part.scales = rows.scales + first * (rows.cols / rows.span) * 2;
  return part;
}

size_t SparseTensor::bytes() const {
  size_t n = 0;
  for (const auto part : data) n += part.size();
  return n;
}

bool has_sparse(const ModelFile& file, const std::string& name) { return file.find(sparse_mask(name)) != nullptr; }

SparseTensor read_sparse(const ModelFile& file, const std::string& name) {
  const Tensor& mask = file.get(sparse_mask(name));
  if (file.find(name + ".weight"))
    fail(ErrorKind::kFormat, "the file has both '{}.weight' and '{}'", printable(name), printable(mask.name));
  if (mask.dtype != DType::kI8 || mask.shape.size() < 2 || mask.cols() % 4 != 0 || mask.cols() == 0)
    wrong(mask, "i8 [n_out, n_in / 8], n_in a multiple of 32");
  SparseTensor out{name + ".weight", mask.shape, {}, {}, {mask.data}};
  const uint64_t n_in = out.shape.back() = 8 * mask.cols();
  const Tensor* values = nullptr;
  DType dtype = DType::kQ8_0;
  for (const DType each : kTypes) {
    const Tensor* found = file.find(sparse_values(name, each));
    if (!found) continue;
    if (values)
      fail(ErrorKind::kFormat, "the file has both '{}' and '{}'", printable(values->name), printable(found->name));
    values = found, dtype = each;
  }
  if (!values)
    fail(ErrorKind::kFormat, "the file has '{}' and no values: expected one of '{}', '{}', '{}'", printable(mask.name),
         printable(sparse_values(name, kTypes[0])), printable(sparse_values(name, kTypes[1])),
         printable(sparse_values(name, kTypes[2])));
  out.data.push_back(values->data);
  out.rows = {dtype, mask.rows(), n_in, 0, mask.data.data(), values->data.data(), nullptr};
  if (dtype != DType::kF16) {
    const Tensor& scales = file.get(sparse_scales(name));
    const uint64_t n_spans = scales.cols();
    if (scales.dtype != DType::kF16 || scales.rows() != mask.rows() || n_spans == 0 || n_in % n_spans != 0 ||
        n_in / n_spans % 32 != 0)
      wrong(scales, fmt::format("f16 [{}, n], n spans of whole blocks of 32 in {} columns", mask.rows(), n_in));
    out.rows.scales = scales.data.data();
    out.rows.span = n_in / n_spans;
    out.data.push_back(scales.data);
  }
  if (values->dtype != (dtype == DType::kF16 ? DType::kF16 : DType::kI8))
    wrong(*values, dtype == DType::kF16 ? "f16" : "i8");
  out.offsets = sparse_offsets(out.rows);
  if (out.offsets.back() != values->data.size())
    fail(ErrorKind::kFormat, "tensor '{}' has {} bytes of values, its mask '{}' stands for {}", printable(values->name),
         values->data.size(), printable(mask.name), out.offsets.back());
  return out;
}

std::optional<std::string> masked_name(std::string_view tensor) {
  if (!tensor.ends_with(kMask)) return std::nullopt;
  return std::string(tensor.substr(0, tensor.size() - kMask.size()));
}

bool is_sparse_part(std::string_view tensor) {
  return tensor.ends_with(kMask) || tensor.ends_with(kScales) || type_of_values(tensor);
}

uint64_t n_weights(const Tensor& t) {
  return t.name.ends_with(kMask) ? 8 * t.n_elems() : is_sparse_part(t.name) || is_input_order(t.name) ? 0 : t.n_elems();
}

DType dtype_of_weights(const ModelFile& file, const Tensor& t) {
  if (!is_sparse_part(t.name)) return t.dtype;
  const std::string name = t.name.substr(0, t.name.rfind(kSparse));
  for (const DType dtype : kTypes)
    if (file.find(sparse_values(name, dtype))) return dtype;
  return t.dtype;
}

}  // namespace hunch
