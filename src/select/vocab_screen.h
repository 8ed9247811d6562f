// Which rows of the vocabulary may hold the largest logit: a cheap guess of all, with a bound on its error.
#pragma once
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "base/rows.h"
#include "formats/weight_view.h"
#include "kernels/matmul.h"
#include "select/archive.h"
#include "select/selector.h"

namespace hunch {

struct ScreenWeights {
  WeightView W_in;   // [rank, n_in]    orthonormal directions, in which most of the inputs lies
  WeightView W_out;  // [n_vocab, rank] the output rows' parts along them
  // [n_vocab] deviation of a guess's error: for each unit of norm that the input has outside the directions, and inside
  // (where only rounding errs).
  std::vector<float> outside, inside;
  float margin = 0;  // deviations that an error may reach: the largest that calibration met, and some more
};

// guess = W_out W_in x. Its error in row i is taken for at most b_i = margin * (outside_i * |x outside| + inside_i *
// |W_in x|). Whatever row has the largest exact logit is then among those with guess_i + b_i >= max_j (guess_j - b_j):
// the shortlist. Views only; immutable.
class VocabScreen final : public Selector {
 public:
  // The matrices must outlive the screen. Shapes are checked: HUNCH_CHECK.
  explicit VocabScreen(ScreenWeights weights);

  // Guesses the logits of inputs, and lists for each the rows to compute exactly: all of them where an eighth of the
  // vocabulary would not do. As alone: none depends on the others.
  //
  //   X           [n, n_in]
  //   bias        [n_vocab] of the output projection, or empty
  //   logits      [n, n_vocab] written
  //   shortlists  [n]
  void guess(Compute& compute, MatView<const float> X, std::span<const float> bias, MatView<float> logits,
             std::span<Rows> shortlists, TokenBits bits) const;
  void guess(Compute& compute, std::span<const float> x, std::span<const float> bias, std::span<float> logits,
             Rows& shortlist) const {
    guess(compute, {x.data(), 1, x.size()}, bias, {logits.data(), 1, logits.size()}, {&shortlist, 1},
          TokenBits::kAsAlone);
  }
  // Who reads logits wants the guesses too: nothing is said of rows alone.
  void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
    for (Rows& rows : out) rows.refill_all(evidence.n_rows);
  }
  std::string_view kind() const override { return "screen"; }

  // The guesses alone, without bias, and the norms of the input's two parts.
  struct Norms {
    float outside, inside;
  };
  Norms project(Compute& compute, std::span<const float> x, std::span<const float> bias, std::span<float> logits) const;
  // Deviation of row i's error for an input of these norms.
  float deviation(size_t i, Norms norms) const { return w_.outside[i] * norms.outside + w_.inside[i] * norms.inside; }

  size_t n_in() const { return w_.W_in.cols; }
  size_t n_vocab() const { return w_.W_out.rows; }
  size_t rank() const { return w_.W_in.rows; }
  size_t bytes() const override;
  const ScreenWeights& weights() const { return w_; }

  void save(ArchiveWriter& archive) const;
  static std::shared_ptr<const VocabScreen> load(const ArchiveReader& archive);

 private:
  // Of X [n, n_in]: hidden [n, rank] and the guesses.
  void products(Compute& compute, MatView<const float> X, std::span<const float> bias, MatView<float> hidden,
                MatView<float> logits, TokenBits bits) const;
  void list(Norms norms, std::span<const float> logits, Rows& shortlist) const;

  ScreenWeights w_;
};

}  // namespace hunch
