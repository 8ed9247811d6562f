// A matrix of a quantised checkpoint, to be decoded row by row.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "io/quantised_config.h"

namespace hunch {

class QuantisedMatrix {
 public:
  virtual ~QuantisedMatrix() = default;

  std::string name;             // of the plain weight that it stands for
  std::vector<uint64_t> shape;  // [out, in], of experts [expert, out, in]
  uint64_t stored_bytes = 0;    // of all tensors that make it up
  size_t rows = 0, cols = 0;    // of `shape`, its outer dimensions multiplied
  // The inputs by their group of equal scales, where neighbours are of several groups; none: as they stand. Of an
  // IntegerMatrix, whose blocks are written in this order.
  std::vector<uint32_t> order;

  // The row's weights as the format's reference decodes them in f32, to the bit. For several threads.
  virtual void values(size_t row, float* out) const = 0;
  // The row as q[i] * scale[i], integers of at most 9 bits with their sign; false where it is no such product.
  virtual bool integers(size_t /*row*/, int16_t* /*q*/, float* /*scale*/) const { return false; }
  // The block format that its bytes are in, in another order, where rows are whole blocks; write_blocks() writes a row
  // in it. Throws Error{kFormat} for a weight that is no number.
  virtual std::optional<DType> blocks() const { return std::nullopt; }
  virtual void write_blocks(size_t /*row*/, std::byte* /*out*/) const {}
};

// Those that are nothing but such products.
class IntegerMatrix : public QuantisedMatrix {
 public:
  void values(size_t row, float* out) const override;
};

using MatrixList = std::vector<std::unique_ptr<QuantisedMatrix>>;

// The tensors of a checkpoint by name, and which of them were understood.
class TensorSet {
 public:
  explicit TensorSet(const std::vector<Tensor>& tensors);
  const Tensor* find(const std::string& name) const;
  // As find(), and marks it as used up; throws Error{kFormat} saying for whom it is missing.
  const Tensor& take(const std::string& name, const std::string& whose);
  const Tensor* take_if_present(const std::string& name);
  bool is_taken(const std::string& name) const;
  // Names that end so, sorted.
  std::vector<std::string> ending_with(std::string_view suffix) const;
  std::vector<std::string> beginning_with(std::string_view prefix) const;

 private:
  std::map<std::string, std::pair<const Tensor*, bool>> tensors_;
};

// "model.layers.0.x" of "model.layers.0.x.qweight".
std::string without_suffix(const std::string& name, std::string_view suffix);
// Throw Error{kFormat} where the tensor is of another type or shape.
void expect_type(const Tensor& t, DType dtype);
void expect_shape(const Tensor& t, std::initializer_list<uint64_t> shape);
std::vector<float> numbers_of(const Tensor& t);  // of f32, f16 or bf16; Error{kFormat} otherwise
// Word i of a tensor of 32 bits, wherever it lies.
uint32_t word_of(const Tensor& t, size_t i);
// Throws Error{kFormat} naming the matrix where `groups` are not those of the config's size.
void expect_groups(size_t cols, size_t groups, const QuantisedConfig& config, const std::string& name);
// Of `groups` scales for `cols` inputs, the group of each input: of the sizes that the config names, the one that
// gives so many. Throws Error{kFormat} naming the tensor where none does.
std::vector<uint32_t> even_groups(size_t cols, size_t groups, const QuantisedConfig& config, const std::string& name);
// The group of each input as a tensor lists it; Error{kFormat} where a number is out of range.
std::vector<uint32_t> listed_groups(const Tensor& g_idx, size_t cols, size_t groups);

// The inputs sorted by group, those of one group as they stood; none where they stand so already.
std::vector<uint32_t> order_by_group(std::span<const uint32_t> group);

// One for each way of storing: the matrices of `config.method` among `tensors`. `float8`: names of tensors whose bytes
// are E4M3 floats. They view the tensors' data and keep nothing alive. Throw Error{kFormat | kUnsupported} naming the
// tensor.
MatrixList awq_matrices(TensorSet& tensors, const QuantisedConfig& config);
MatrixList gptq_matrices(TensorSet& tensors, const QuantisedConfig& config);
MatrixList fp8_matrices(TensorSet& tensors, const QuantisedConfig& config, const std::set<std::string>& float8);
MatrixList compressed_tensors_matrices(TensorSet& tensors, const QuantisedConfig& config,
                                       const std::set<std::string>& float8);
MatrixList bits_and_bytes_matrices(TensorSet& tensors);
MatrixList mxfp4_matrices(TensorSet& tensors);
// Without the one scale of each matrix, which stays a tensor of its own.
MatrixList bitnet_matrices(TensorSet& tensors);

}  // namespace hunch
