#include "base/dtype.h"

#include "base/error.h"

namespace hunch {
namespace {

constexpr DTypeInfo kTable[] = {
    // dtype, name, block_elems, block_bytes, computes, writes
    {DType::kF32, "f32", 1, 4, true, true},         {DType::kF16, "f16", 1, 2, true, true},
    {DType::kBF16, "bf16", 1, 2, true, true},       {DType::kQ8_0, "q8_0", 32, 34, true, true},
    {DType::kQ4_0, "q4_0", 32, 18, true, true},     {DType::kQ4_K, "q4_k", 256, 144, true, true},
    {DType::kQ5_K, "q5_k", 256, 176, true, false},  {DType::kQ6_K, "q6_k", 256, 210, true, true},
    {DType::kQ4_1, "q4_1", 32, 20, false, false},   {DType::kQ5_0, "q5_0", 32, 22, false, false},
    {DType::kQ5_1, "q5_1", 32, 24, false, false},   {DType::kQ8_1, "q8_1", 32, 36, false, false},
    {DType::kQ2_K, "q2_k", 256, 84, false, false},  {DType::kQ3_K, "q3_k", 256, 110, false, false},
    {DType::kQ8_K, "q8_k", 256, 292, false, false}, {DType::kI8, "i8", 1, 1, false, false},
    {DType::kI16, "i16", 1, 2, false, false},       {DType::kI32, "i32", 1, 4, false, false},
    {DType::kI64, "i64", 1, 8, false, false},       {DType::kF64, "f64", 1, 8, false, false},
};

}  // namespace

const DTypeInfo* dtype_info(DType dtype) {
  for (const DTypeInfo& row : kTable)
    if (row.dtype == dtype) return &row;
  return nullptr;
}

const DTypeInfo& info(DType dtype) {
  const DTypeInfo* row = dtype_info(dtype);
  HUNCH_CHECK(row, "dtype id {}", uint32_t(dtype));
  return *row;
}

const char* name_of(DType dtype) { return info(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeInfo& row : kTable)
    if (name == row.name) return row.dtype;
  return std::nullopt;
}

size_t row_bytes(DType dtype, size_t n_elems) {
  const DTypeInfo& row = info(dtype);
  HUNCH_CHECK(n_elems % row.block_elems == 0, "{} elements of {}", n_elems, row.name);
  return n_elems / row.block_elems * row.block_bytes;
}

}  // namespace hunch
