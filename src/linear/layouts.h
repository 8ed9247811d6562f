// Turned and packed copies of matrices: who makes them, who owns them, what they cost.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "linear/cost_table.h"
#include "linear/packed.h"
#include "linear/stored.h"

namespace hunch {

// The only owner of copies of weights beside the file's. Copies are made when a plan first needs them, before a step
// and never in one; each request names the whole need and is checked against the memory once. Not thread-safe: one
// caller at a time, and no step meanwhile.
class Layouts {
 public:
  using Maps = std::span<const std::span<const std::byte>>;  // of files, whose pages can be given back

  // Rows of inputs beside rows of outputs, for what skips inputs. Without loss: matrices of plain elements that have
  // none yet; others are left as they are. Throws Error{kMemory} naming `what`, Error{kInterrupted}.
  void store_by_input(Compute& compute, std::span<Linear* const> matrices, const char* what);
  // Rows of inputs instead of rows of outputs; the bytes of the latter go back to the file. Throws Error{kMemory}
  // naming `what`, before anything is turned, and Error{kInterrupted}.
  struct TurnRequest {
    Stored* matrix;
    DType dtype;  // the matrix's own, or one into which its values are rounded anew along the other axis
  };
  void turn(Compute& compute, std::span<const TurnRequest> requests, const char* what);
  // The columns of each group of `unit` inputs together, where the format allows it; none of them while memory is short
  // (the columns are then cut where they lie).
  void store_by_group(Compute& compute, std::span<Linear* const> matrices, size_t unit);

  // Strips (formats/strip_shape.h) beside the rows, for what is always read whole: quantised matrices that have none
  // yet. Rows that lie in one of `maps` are read on demand from then on. None while memory is short, or where the SIMD
  // target does not multiply them. Throws Error{kInterrupted}.
  void interleave(Compute& compute, std::span<Linear* const> matrices, Maps maps);

  // Rows that lie in one of `maps`, of outputs or of inputs, move to memory on huge pages: small ones cost up to a
  // third of the speed. None while memory is short. Throws Error{kInterrupted}.
  void hold(Compute& compute, std::span<Linear* const> matrices, Maps maps);

  // Copies of the rows (Axis::kOut) or inputs (kIn) `kept` of a matrix, for tokens whose Rows have this name.
  struct PackRequest {
    const Linear* matrix;
    Axis axis;
    const Rows* kept;
  };
  void pack(Compute& compute, uint64_t name, std::span<const PackRequest> requests);
  void unpack(uint64_t name);
  uint64_t new_name() { return ++last_name_; }
  // The copy of this name; nullptr: none.
  const Packed* packed(const Linear& matrix, uint64_t name) const {
    if (name == 0) return nullptr;
    const auto found = packed_.find({name, &matrix});
    return found == packed_.end() ? nullptr : found->second.get();
  }
  size_t packed_bytes() const;

  // Whether products of each token with its own outputs of `matrix`, which may come in groups, are faster than one of
  // all tokens with all of it. A token by itself always reads its own.
  bool own_is_faster(Compute& compute, const Linear& matrix, RowSet out) const;

  CostTable& costs() { return costs_; }
  const CostTable& costs() const { return costs_; }

 private:
  // nullptr where so much is not to spare.
  std::byte* spare_memory(uint64_t bytes);

  CostTable costs_;
  std::vector<AlignedBuffer> arenas_;
  std::map<std::pair<uint64_t, const Linear*>, std::unique_ptr<Packed>> packed_;
  uint64_t last_name_ = 0;
};

}  // namespace hunch
