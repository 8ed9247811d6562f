// A matrix as blocks of a format that every reader opens, with codes chosen to the nearest or in a sweep.
#pragma once
#include <optional>

#include "base/aligned_buffer.h"
#include "compress/matrix/code_layout.h"
#include "compress/matrix/column_sweep.h"
#include "compress/matrix/group_grid.h"

namespace hunch {

// What weights are rounded to.
struct BlockTarget {
  DType dtype = DType::kQ4_0;
  // Grids of any number of bits and any groups of whole blocks, in a format of 32 values a block whose scale and
  // minimum are plain numbers: they are then rounded to f16 and repeated in every block. In f32 the values of the grid
  // are written as they are. None: scales are chosen as the format's encoder does.
  std::optional<GridOptions> grid;
};

// The target for a grid: q4_0, q5_0 or q8_0 where it is symmetric; q4_1 or q5_1 where it is not. Throws Error{kUsage}
// for more than 5 bits that are not symmetric, or a group that is no multiple of 32.
BlockTarget target_of(const GridOptions& grid);
// The target for rows of n_in: its own, or the nearest format whose blocks divide them (fitting_dtype). Throws
// Error{kUsage} for groups that do not.
BlockTarget fitting(const BlockTarget& target, size_t n_in);

struct EncodedMatrix {
  DType dtype = DType::kF32;
  size_t rows = 0, cols = 0;
  AlignedBuffer bytes;

  EncodedMatrix() = default;
  EncodedMatrix(DType dtype, size_t rows, size_t cols);
  WeightView view() const { return {dtype, bytes.data(), rows, cols, row_bytes(dtype, cols)}; }
  std::byte* row(size_t r) { return bytes.data() + r * row_bytes(dtype, cols); }
};

// Every weight to the nearest of its block. Any dtype that writes; `importance` [n_in] or empty weighs errors where the
// format's encoder chooses scales.
EncodedMatrix encode_nearest(Compute& compute, const Matrix& W, const BlockTarget& target,
                             std::span<const float> importance = {});
// The same of n values of a row, in place: whole groups, or blocks.
void round_in_place(const BlockTarget& target, std::span<float> w);

// Rounds in a sweep: the scales of a block are fitted when the sweep comes to it, to its weights as they were at the
// beginning of the run of columns (as gptq.h's), or all of them beforehand, to the weights as they are. The latter for
// every sweep that is not in W's own order.
class BlockRule final : public ColumnRule {
 public:
  // A dtype with a code layout. `inverse` must outlive the rule.
  BlockRule(const Matrix& W, const InverseHessian& inverse, const BlockTarget& target, bool static_scales,
            std::span<const float> importance = {});
  float settle(const Place& place, float w) override;

  EncodedMatrix out;  // complete after the sweep

 private:
  struct Line {
    float a = 0, b = 0;  // x = a * code + b
  };
  size_t unit() const { return unit_; }  // columns that are fitted together
  void fit(size_t row, size_t column, std::span<const float> w);

  const InverseHessian& inverse_;
  const BlockTarget target_;
  const CodeLayout& layout_;
  std::vector<float> importance_;
  bool is_static_;
  size_t unit_;
  int min_code_ = 0, max_code_ = 0;
  std::vector<Line> lines_;  // [n_out * n_in / 16]
};

}  // namespace hunch
