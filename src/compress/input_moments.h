// What the matrices of a block read on a text, summed up: the second moment of their inputs.
#pragma once
#include <map>

#include "compress/linear_algebra.h"
#include "linear/linear.h"
#include "model/observer.h"
#include "select/selector.h"

namespace hunch {

struct InputMoment {
  Matrix sum;                      // X^T X over the tokens, [n_in, n_in]
  std::vector<double> magnitudes;  // [n_in] sum of |x| over the tokens
  std::vector<float> largest;      // [n_in] |x| over the tokens
  Matrix sample;                   // [n, n_in] some of the tokens, where asked for
  size_t n_tokens = 0;
};

// Watches passes of one block. Matrices that read the same input share a moment: q, k and v; gate and up. An expert has
// the moments of the tokens that were given to it.
class InputMoments : public Observer {
 public:
  // Every so many tokens one is kept, up to so many: of an expert of those that are given to it.
  struct Sample {
    size_t every = 1, most = 0;
    bool and_sums = true;  // X^T X too; else the sums are empty
  };
  InputMoments(Compute& compute, Sample sample) : compute_(compute), sample_(sample) {}
  explicit InputMoments(Compute& compute) : InputMoments(compute, Sample{}) {}

  // Whether the inputs of this matrix are seen: those of attention and of MLPs, not of routers.
  static bool covers(Role role);
  // Of what the matrix read; without tokens where nothing came by.
  const InputMoment& of(const LinearId& id) const;
  void clear() { moments_.clear(); }
  // Bytes that the moments of a block will take.
  static uint64_t bytes_needed(const struct Layer& layer, const Sample& sample);
  static uint64_t bytes_needed(const struct Layer& layer) { return bytes_needed(layer, Sample{}); }

  void on_attention_input(size_t layer, MatView<const float> x) override;
  void on_heads(size_t layer, MatView<const float> attn_out) override;
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override;

 private:
  using Key = std::pair<InputPart, uint32_t>;  // and the expert
  static Key key_of(const LinearId& id);
  void add(Key key, MatView<const float> X);
  // sum [n_in, n_in] += X^T X
  void add_products(MatView<const float> X, Matrix& sum);

  Compute& compute_;
  const Sample sample_;
  std::map<Key, InputMoment> moments_;
  std::vector<float> products_;  // scratch
};

}  // namespace hunch
