// cos and sin of RoPE for the positions of a batch, with the long-context extensions.
// Su et al. 2021 (RoFormer); Chen et al. 2023 (linear interpolation); Peng et al. 2023 (YaRN);
// dynamic NTK and LongRope as in Hugging Face's transformers 4.44. Llama-3's rule is a fixed division of
// the frequencies and comes as RopeConfig::freq_factors.
#pragma once
#include <span>
#include <vector>

#include "model/config.h"

namespace hunch {

class RopeTable {
 public:
  // `n_ctx_train` is the context that the config states (dynamic NTK starts beyond it).
  RopeTable(const RopeConfig& config, size_t n_ctx_train);

  size_t n_pairs() const { return n_pairs_; }

  // By what a text turns: radians a position [n_pairs], and what cos and sin are multiplied by.
  struct Frequencies {
    std::span<const double> of;
    double factor;
  };
  // Those for a sequence that is `n_ctx` tokens long by now: dynamic NTK and LongRope
  // choose by the length. `own` is memory for the case that they are computed anew.
  Frequencies frequencies(size_t n_ctx, std::vector<double>& own) const;

  // Whether these differ among texts of at most n_ctx tokens.
  bool depends_on_length(size_t n_ctx) const;

  // LongRope turns all keys of a text otherwise from so many tokens on: those that are there have to be made anew
  // (transformers since 4.45 does). SIZE_MAX: never. (Dynamic NTK leaves old keys as they are, there and here.)
  size_t turns_anew_beyond() const {
    return config_.scaling == RopeScaling::kLongRope ? config_.n_ctx_original : SIZE_MAX;
  }

  // Fills cos and sin [n_pairs] of a turn by so many positions: what is at position p goes to p + by.
  void turn(size_t by, std::span<const double> frequencies, std::span<float> cos, std::span<float> sin) const;
  // Fills cos and sin [n_pairs] of one position, scaled as the model's attention wants it.
  void at(size_t position, const Frequencies& frequencies, std::span<float> cos, std::span<float> sin) const;

 private:
  size_t n_ctx_before_stretching() const { return config_.n_ctx_original ? config_.n_ctx_original : n_ctx_train_; }

  RopeConfig config_;
  size_t n_ctx_train_, n_pairs_;
  std::vector<double> fixed_;  // frequencies of the kinds that do not depend on the length
  std::vector<double> long_;   // LongRope beyond the original context
};

}  // namespace hunch
