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
  HUNCH_CHECK(X.cols == n_in() && scores.cols == n_out() && scores.rows == X.rows);
  const size_t n_words = sign_words(w_.n_in);
  const std::span<uint64_t> bits = compute.arena.take<uint64_t>(X.rows * n_words);
  compute.meter.read_weights(w_.n_ff * n_words * sizeof(uint64_t));
  for (size_t t = 0; t < X.rows; ++t) pack_signs(X.row(t), bits.subspan(t * n_words, n_words));
  compute.threads.parallel_for(w_.n_ff, 64, [&](size_t begin, size_t end) {
    for (size_t t = 0; t < X.rows; ++t) {
      const std::span<float> y = scores.row(t).subspan(begin, end - begin);
      count_sign_differences(w_.planes + begin * n_words, bits.subspan(t * n_words, n_words), y);
      for (size_t k = 0; k < y.size(); ++k) y[k] = w_.bias[begin + k] - w_.slope[begin + k] * y[k];
    }
  });
}

std::shared_ptr<const Predictor> SignPredictor::part(size_t first, size_t n) const {
  const auto some = [&](const std::vector<float>& of) {
    return std::vector<float>(of.begin() + ptrdiff_t(first), of.begin() + ptrdiff_t(first + n));
  };
  return std::make_shared<SignPredictor>(
      SignWeights{w_.planes + first * sign_words(w_.n_in), n, w_.n_in, some(w_.slope), some(w_.bias)});
}

void SignPredictor::save(ArchiveWriter& archive) const {
  archive.words("_signs", w_.planes, w_.n_ff, sign_words(w_.n_in));
  archive.floats(".slope", w_.slope);
  archive.floats(".bias", w_.bias);
}

std::shared_ptr<const Predictor> SignPredictor::load(std::string_view kind, size_t n_in, size_t n_out,
                                                     const ArchiveReader& archive) {
  if (kind != "signs") return nullptr;
  const uint64_t* planes = archive.words("_signs", n_out, sign_words(n_in));
  std::vector<float> slope = archive.floats(".slope", n_out);
  return std::make_shared<SignPredictor>(
      SignWeights{planes, n_out, n_in, std::move(slope), archive.floats(".bias", n_out)});
}

}  // namespace hunch
