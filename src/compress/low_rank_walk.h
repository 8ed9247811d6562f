// Layer after layer of a model as products of two thin matrices, each fitted to what the ones before it leave of a
// text.
#pragma once
#include <vector>

#include "base/aligned_buffer.h"
#include "compress/block_walk.h"
#include "compress/input_moments.h"
#include "compress/low_rank.h"

namespace hunch {

// W ~ U V as it will lie in the file.
struct LowRankPair {
  LinearId id;
  AlignedBuffer u_bytes, v_bytes;
  WeightView U, V;      // [n_out, rank], [rank, n_in]
  double error = 0;     // of the outputs on the text, relative
  size_t n_tokens = 0;  // that the matrix was fitted to; 0: none came by, and it has its plain SVD
};

class LowRankWalk {
 public:
  // Throws as compress_low_rank. `options` must outlive it.
  LowRankWalk(const Engine& engine, std::span<const int32_t> ids, const LowRankOptions& options, DType dtype,
              const Progress& progress);

  // Of one pair: types whose blocks divide the rows, and a rank of whole blocks where the ratio allows one.
  struct Shape {
    size_t rank;
    DType U, V;
  };
  Shape shape_of(const Linear& matrix) const;
  bool chooses(Role role) const;
  // The layer's matrices that become pairs.
  std::vector<const Linear*> chosen(size_t layer) const;
  // Their pairs, in the same order; valid until those of a later layer are asked for. No layer is asked for after a
  // later one.
  std::span<const LowRankPair> pairs(size_t layer);
  size_t n_tokens() const { return walk_.n_tokens(); }

 private:
  std::vector<std::unique_ptr<Linear>*> slots(size_t layer) const;
  void check_memory() const;
  void compress_next();
  LowRankPair fit(const Linear& matrix, const InputMoment& moment) const;
  void leave_compressed(size_t layer);

  const Engine& engine_;
  const LowRankOptions& options_;
  DType dtype_;
  const Progress& progress_;
  BlockWalk walk_;
  size_t n_layers_done_ = 0, n_matrices_ = 0, n_done_ = 0;
  std::vector<LowRankPair> pairs_;  // of the last layer that is done
};

}  // namespace hunch
