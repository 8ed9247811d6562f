#include "compress/sign_fit.h"

#include <algorithm>
#include <cmath>

#include "formats/format.h"
#include "kernels/sign_bits.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kMostTokens = 4096, kSignBatch = 256;
constexpr double kBorrowed = 8;  // active tokens that the layer's mean gap counts for

struct OwnedSigns {
  std::vector<uint64_t> planes;
  std::unique_ptr<SignPredictor> predictor;
};

std::vector<uint64_t> planes_of(Compute& compute, const WeightView& W) {
  const size_t n_words = sign_words(W.cols);
  std::vector<uint64_t> planes(W.rows * n_words);
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    std::vector<float> row(W.cols);
    for (size_t r = begin; r < end; ++r) {
      codec(W.dtype).decode(W.row(r), row.data(), row.size());
      pack_signs(row, std::span(planes).subspan(r * n_words, n_words));
    }
  });
  return planes;
}

// Sums over tokens of a neuron's differences, active and silent.
struct Sums {
  std::vector<double> n_active, active, all, squares;  // [n_ff]
  explicit Sums(size_t n) : n_active(n), active(n), all(n), squares(n) {}
};

Sums sums_of(Compute& compute, const SignPredictor& counter, const MlpTrace& trace, size_t n_tokens, size_t n_used) {
  Sums s(trace.n_ff);
  for (size_t first = 0; first < n_used; first += kSignBatch) {
    compute.throw_if_stopped();
    const size_t n = std::min(kSignBatch, n_used - first);
    Matrix X(n, trace.n_embd), D(n, trace.n_ff);
    const auto token = [&](size_t i) { return (first + i) * n_tokens / n_used; };
    for (size_t i = 0; i < n; ++i) trace.read(trace.input, token(i), X.view().row_range(i, 1));
    counter.score(compute, X.view(), D.view());
    compute.threads.parallel_for(trace.n_ff, 64, [&](size_t begin, size_t end) {
      for (size_t i = 0; i < n; ++i) {
        const auto codes = trace.codes(token(i));
        for (size_t k = begin; k < end; ++k) {
          const double d = D.row(i)[k], active = codes[k] != 0;
          s.n_active[k] += active;
          s.active[k] += active * d;
          s.all[k] += d;
          s.squares[k] += d * d;
        }
      }
    });
  }
  return s;
}

}  // namespace

std::shared_ptr<const Predictor> make_sign_predictor(Compute& compute, const Linear& first, const MlpTrace& trace,
                                                     size_t n_tokens, const NeuronStatistics& statistics) {
  auto owned = std::make_shared<OwnedSigns>();
  owned->planes = planes_of(compute, Values(compute, first).rows());
  SignWeights weights{owned->planes.data(), trace.n_ff, trace.n_embd, std::vector<float>(trace.n_ff, -1.0f),
                      std::vector<float>(trace.n_ff)};
  const size_t n_used = std::min(n_tokens, kMostTokens);
  const Sums s =
      sums_of(compute, SignPredictor(weights), trace, n_tokens, n_used);  // slope -1: the scores are the counts

  const double n = double(n_used);
  double within = 0, n_within = 0, gaps = 0, n_gaps = 0;
  for (size_t k = 0; k < trace.n_ff; ++k) {
    const double n1 = s.n_active[k], n0 = n - n1, sum0 = s.all[k] - s.active[k];
    within += s.squares[k] - (n1 > 0 ? s.active[k] * s.active[k] / n1 : 0) - (n0 > 0 ? sum0 * sum0 / n0 : 0);
    n_within += n;
    if (n1 == 0 || n0 == 0) continue;
    gaps += n1 * (sum0 / n0 - s.active[k] / n1);
    n_gaps += n1;
  }
  const double variance = std::max(within / std::max(n_within, 1.0), 1e-3), mean_gap = n_gaps > 0 ? gaps / n_gaps : 0;
  for (size_t k = 0; k < trace.n_ff; ++k) {
    const double n1 = s.n_active[k], n0 = n - n1, sum0 = s.all[k] - s.active[k];
    const double silent = n0 > 0 ? sum0 / n0 : s.active[k] / n1;
    const double own = n1 > 0 && n0 > 0 ? silent - s.active[k] / n1 : 0;
    const double gap = (n1 * own + kBorrowed * mean_gap) / (n1 + kBorrowed);
    const double slope = gap / variance;
    weights.slope[k] = float(slope);
    weights.bias[k] = float(std::log((n1 + 0.1) / (n0 + 0.1)) + slope * (silent - gap / 2));
  }
  add_value(statistics, weights.bias);
  owned->predictor = std::make_unique<SignPredictor>(std::move(weights));
  const Predictor* predictor = owned->predictor.get();
  return {std::move(owned), predictor};
}

}  // namespace hunch
