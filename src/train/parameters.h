// What training changes: matrices and vectors in f32, and where their gradients are summed up.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/view.h"

namespace hunch {

// One of them. Others refer to it, so that it stays where it is.
struct Parameter {
  static constexpr size_t kNoLayer = SIZE_MAX;

  std::string name;          // as the model's file calls the tensor; "blk.0.attn_q.weight.lora_a"
  size_t layer = kNoLayer;   // whose block it belongs to; none: embeddings, the output and its norm
  bool decays = true;        // weight decay shrinks it: matrices, not norms and biases
  MatView<float> value;      // [rows, cols]; of a vector [1, n]
  MatView<float> grad = {};  // as `value`; none before allocate_gradients()
  AlignedBuffer memory;      // of `value`

  size_t size() const { return value.rows * value.cols; }
  std::span<float> values() const { return {value.data, size()}; }
  std::span<float> grads() const { return {grad.data, size()}; }
};

// When gradients are there.
enum class GradientMemory : uint8_t {
  kAll,      // of all parameters at a time
  kOneLayer  // of one block at a time, which the next one's replace, beside those that belong to no block (LOMO)
};

class Parameters {
 public:
  // Values are not set. Throws Error{kMemory}.
  Parameter& add(std::string name, size_t layer, size_t rows, size_t cols, bool decays);

  // Makes room for the gradients, zeros. Throws Error{kMemory}.
  void allocate_gradients(GradientMemory memory);
  // Of all, or of those of one layer (Parameter::kNoLayer: of no block).
  void zero_gradients();
  void zero_gradients(size_t layer);

  size_t n_values() const;
  std::vector<std::unique_ptr<Parameter>> all;  // in the order in which they were added

 private:
  AlignedBuffer gradients_;
};

}  // namespace hunch
