// Projections stored by input: row i is what input i adds to the outputs. What skips inputs reads these rows.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "model/smooth_plan.h"
#include "model/weights.h"

namespace hunch {

// Which copies are made.
enum class ColumnParts : uint8_t {
  kDown,  // of the down projections only (CATS)
  kAll,   // of every projection of a layer (TEAL)
};

// Transposed copies of plain weights (f32, f16, bf16), without loss. Projections that share an input stand side by side
// in one row: [n_in, sum of their n_out], in the order of InputPart's comments. There is none (a null view) where a
// projection is quantised, where those of a part differ in type, and in layers of experts. A down projection that the
// model itself stores by neuron is not copied: the view is the model's.
struct ColumnWeights {
  struct Layer {
    WeightView parts[kNInputParts];
    const WeightView& operator[](InputPart part) const { return parts[size_t(part)]; }
  };
  std::vector<Layer> layers;
  std::vector<AlignedBuffer> arenas;

  // Bytes that the copies will take.
  static uint64_t bytes_needed(const ModelWeights& weights, ColumnParts parts);
  // Checks the memory before it is taken: Error{kMemory}. Error{kInterrupted} on Ctrl-C.
  static ColumnWeights make(const ModelWeights& weights, ColumnParts parts, Compute& compute);
};

// Makes the copies when someone first asks for them, and keeps them. Any number of threads may ask, though the compute
// serves one at a time.
class ColumnStore {
 public:
  // Copies of at least these parts; they live as long as someone holds them or the store. Errors as make().
  std::shared_ptr<const ColumnWeights> get(const ModelWeights& weights, ColumnParts parts, Compute& compute);

 private:
  std::mutex mutex_;
  ColumnParts made_ = ColumnParts::kDown;
  std::shared_ptr<const ColumnWeights> weights_;
};

}  // namespace hunch
