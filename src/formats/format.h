// What hunch knows of an element type. Every format that it computes with is one file of this folder, q4_0.h for
// example: its block, decode, encode and this description. table.h lists them all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/dtype.h"

namespace hunch {

// A row of `n` elements is n / block_elems blocks of block_bytes each; n is a multiple of block_elems.
struct Format {
  DType dtype = DType::kF32;
  const char* name = nullptr;  // lower case, as the command line and `inspect` write it: "q4_k"
  uint32_t block_elems = 1;    // 1 for plain types
  uint32_t block_bytes = 0;
  // out[i] for i in [0, n), n a multiple of block_elems; `blocks` needs no alignment. Scalar and obvious: the SIMD
  // kernels are tested against it. nullptr where hunch knows the type's size only.
  void (*decode)(const std::byte* blocks, float* out, size_t n) = nullptr;
  // What encode() below does; nullptr where hunch only reads the format.
  void (*encoder)(const float* values, std::byte* blocks, size_t n, const float* importance) = nullptr;
  bool has_min = false;    // a block adds or subtracts a number of its own, which may cancel its codes
  uint32_t file_type = 0;  // GGUF's general.file_type of a model in this format, llama.cpp's number
  bool caches = false;     // `--kv` can choose it: keys and values are stored in it
  // What a matrix is written as whose rows are not whole blocks: what llama.cpp's quantiser takes, of about as many
  // bits.
  DType fallback = DType::kF16;

  // Of a format that is only read: n values as blocks of `loads_as`, a format that computes, with the same values.
  // Models hold its matrices so.
  void (*load)(const std::byte* blocks, std::byte* to, size_t n) = nullptr;
  DType loads_as = DType::kF32;
  bool in_memory_only = false;  // no file has it
  bool float_products =
      false;  // of blocks whose numbers are no small integers: multiplied as floats, as plain types are

  bool reads() const { return decode != nullptr; }                       // its values are known
  bool computes() const { return decode != nullptr && !load; }           // kernels exist
  bool writes() const { return encoder != nullptr && !in_memory_only; }  // `convert --type` can write it
  bool is_float() const { return computes() && block_elems == 1; }       // a number of its own for every element

  // Rounds n values to blocks, of a format that writes(); n as in decode. importance[i] >= 0 weighs the squared error
  // of value i (an importance matrix' mean of squares of that column's inputs), up to a common factor; nullptr: all
  // weigh the same. Formats whose codes are the nearest without it (f32, f16, bf16, q8_0, mxfp4 but for its scale) use
  // little or nothing of it. Non-finite input is the caller's error to have refused.
  void encode(const float* values, std::byte* blocks, size_t n, const float* importance = nullptr) const {
    encoder(values, blocks, n, importance);
  }
};

// Every type: those that compute in the order of table.h, those that are only read, those of which hunch knows only
// name and size.
std::span<const Format> formats();

// The format of a type, or nullptr when the id is not in the table.
const Format* find_format(DType dtype);
// As above, for a type that is known to be in the table; aborts otherwise.
const Format& info(DType dtype);
// The format of a type whose values are read; throws Error{kUnsupported} naming the type and those that are.
const Format& codec(DType dtype);

const char* name_of(DType dtype);
// The type with this lower-case name ("f16", "q4_k"), if there is one.
std::optional<DType> dtype_from_name(std::string_view name);
// Names in the order of the table, for choices and messages: format_names(&Format::writes).
std::vector<std::string> format_names(const std::function<bool(const Format&)>& which);

// Whether a row is n_elems numbers side by side: f32, f16, bf16 and the integers.
inline bool is_plain(DType dtype) { return info(dtype).block_elems == 1; }
// Whether products with its weights take their inputs as floats; otherwise as int8.
inline bool multiplies_floats(DType dtype) { return is_plain(dtype) || info(dtype).float_products; }
// Bytes of one row of `n_elems` elements. n_elems must be a multiple of block_elems.
size_t row_bytes(DType dtype, size_t n_elems);

}  // namespace hunch
