#include "select/sign_predictor.h"

#include "base/error.h"
#include "kernels/sign_bits.h"

namespace hunch {

SignPredictor::SignPredictor(SignWeights weights) : w_(std::move(weights)) {
  HUNCH_CHECK(w_.planes && w_.slope.size() == w_.n_ff && w_.bias.size() == w_.n_ff,
              "{} slopes and {} biases for {} neurons", w_.slope.size(), w_.bias.size(), w_.n_ff);
}

size_t SignPredictor::bytes() const { return w_.n_ff * (sign_words(w_.n_in) * sizeof(uint64_t) + 2 * sizeof(float)); }

void SignPredictor::score(Compute& compute, MatView<const float> X, MatView<float> scores) const {
  const Arena::Scope scope(compute.arena);
  HUNCH_CHECK(X.cols == n_in() && scores.cols == n_ff() && scores.rows == X.rows);
  const size_t n_words = sign_words(w_.n_in);
  const std::span<uint64_t> bits = compute.arena.take<uint64_t>(X.rows * n_words);
  compute.meter.read_weights(w_.n_ff * n_words * sizeof(uint64_t));
  for (size_t t = 0; t < X.rows; ++t) pack_signs(X.row(t), bits.subspan(t * n_words, n_words));
  compute.threads.parallel_for(w_.n_ff, 64, [&](size_t begin, size_t end, size_t) {
    for (size_t t = 0; t < X.rows; ++t) {
      const std::span<float> y = scores.row(t).subspan(begin, end - begin);
      count_sign_differences(w_.planes + begin * n_words, bits.subspan(t * n_words, n_words), y);
      for (size_t k = 0; k < y.size(); ++k) y[k] = w_.bias[begin + k] - w_.slope[begin + k] * y[k];
    }
  });
}

}  // namespace hunch
