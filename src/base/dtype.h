// The element types that a tensor may have, with the block geometry of the quantised ones.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hunch {

// Values are ggml's type ids, as GGUF files store them.
enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
};

// A row of `n` elements is n / block_elems blocks of block_bytes each; n is a multiple of block_elems.
struct DTypeInfo {
  DType dtype;
  const char* name;      // lower case, as the command line and `inspect` write it: "q4_k"
  uint32_t block_elems;  // 1 for plain types
  uint32_t block_bytes;
  bool computes;  // a codec and kernels exist
  bool writes;    // `convert --type` can write it
};

// Geometry of `dtype`, or nullptr when the id is not in the table.
const DTypeInfo* dtype_info(DType dtype);
// As above, for a type that is known to be in the table; aborts otherwise.
const DTypeInfo& info(DType dtype);
const char* name_of(DType dtype);
// The type with this lower-case name ("f16", "q4_k"), if there is one.
std::optional<DType> dtype_from_name(std::string_view name);

// Bytes of one row of `n_elems` elements. n_elems must be a multiple of block_elems.
size_t row_bytes(DType dtype, size_t n_elems);

}  // namespace hunch
