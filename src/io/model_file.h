// A model as every reader delivers it and every writer takes it: metadata and named tensors, in
// GGUF's terms. Readers of other formats (HF folders, llama2.c) produce the same value, so that the
// rest of hunch knows one kind of model only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "formats/weight_view.h"

namespace hunch {

// GGUF value types. Arrays are homogeneous; nested arrays are refused by the reader.
// Strings may hold any bytes (token pieces are not always UTF-8).
using MetaArray = std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>, std::vector<int16_t>,
                               std::vector<uint32_t>, std::vector<int32_t>, std::vector<uint64_t>, std::vector<int64_t>,
                               std::vector<float>, std::vector<double>, std::vector<bool>, std::vector<std::string>>;
using MetaValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t, float, double,
                               bool, std::string, MetaArray>;

// Ordered key/value pairs with typed access. Getters throw Error{kFormat} naming the key, what was
// expected and what was found; numbers convert between integer widths when the value fits.
class Metadata {
 public:
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const MetaValue* find(std::string_view key) const;
  // Replaces the value in place where the key exists, else appends.
  void set(std::string key, MetaValue value);
  void erase(std::string_view key);
  // Where to note the keys that are asked for from now on, present or not; nullptr: nowhere. Not for use by several
  // threads.
  void log_reads(std::set<std::string, std::less<>>* log) const { log_ = log; }
  // Insertion order, as it was in the file.
  const std::vector<std::string>& keys() const { return keys_; }

  // Without default: a missing key throws Error{kNotFound}.
  std::string get_string(std::string_view key) const;
  uint64_t get_uint(std::string_view key) const;
  int64_t get_int(std::string_view key) const;
  double get_float(std::string_view key) const;
  bool get_bool(std::string_view key) const;
  std::string get_string(std::string_view key, std::string_view fallback) const;
  uint64_t get_uint(std::string_view key, uint64_t fallback) const;
  int64_t get_int(std::string_view key, int64_t fallback) const;
  double get_float(std::string_view key, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;

  const std::vector<std::string>& get_strings(std::string_view key) const;
  // Numeric arrays of any width, converted.
  std::vector<float> get_floats(std::string_view key) const;
  std::vector<int64_t> get_ints(std::string_view key) const;

 private:
  std::map<std::string, MetaValue, std::less<>> values_;
  std::vector<std::string> keys_;
  mutable std::set<std::string, std::less<>>* log_ = nullptr;
};

// One named tensor. `shape` is row-major, outermost first ([rows, cols] for a matrix; GGUF's own
// dimension order is the reverse and is turned round at the border).
struct Tensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  std::span<const std::byte> data;

  uint64_t n_elems() const {
    uint64_t n = 1;
    for (uint64_t d : shape) n *= d;
    return n;
  }
  uint64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  uint64_t rows() const { return cols() ? n_elems() / cols() : 0; }
  // The tensor as a [product of the outer dimensions, last dimension] matrix.
  WeightView view() const { return {dtype, data.data(), rows(), cols(), row_bytes(dtype, cols())}; }
};

struct ModelFile {
  Metadata meta;
  std::vector<Tensor> tensors;
  // Whatever the tensors' data lives in: memory maps, converted buffers. Kept as long as the views.
  std::vector<std::shared_ptr<const void>> owners;
  // Those of them that are maps of files, whose pages can be given back (MappedFile::release).
  std::vector<std::span<const std::byte>> maps;

  const Tensor* find(std::string_view name) const;
  // Throws Error{kNotFound} naming the tensor and the closest name there is.
  const Tensor& get(std::string_view name) const;
  // Builds the name index used by find(); readers call it last, writers of `tensors` call it again.
  // Throws Error{kFormat} when two tensors have one name.
  void index();

 private:
  std::map<std::string, size_t, std::less<>> by_name_;
};

}  // namespace hunch
