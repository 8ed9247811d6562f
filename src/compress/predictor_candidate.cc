#include "compress/predictor_candidate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "formats/format.h"
#include "io/file_types.h"
#include "select/hot_set.h"

namespace hunch {
namespace {

constexpr size_t kBins = 4096;
constexpr float kScoreRange = 32;  // log-odds beyond it are one

size_t bin_of(float score) {
  const float x = (score + kScoreRange) * (float(kBins) / (2 * kScoreRange));
  return size_t(std::clamp(x, 0.0f, float(kBins - 1)));
}
float lower_end(size_t bin) { return float(bin) * (2 * kScoreRange / float(kBins)) - kScoreRange; }

struct Histogram {
  std::array<double, kBins> value{};
  std::array<uint64_t, kBins> all{}, active{};
};

std::vector<std::byte> encode(const Matrix& m, DType dtype) {
  const size_t n = row_bytes(dtype, m.cols);
  std::vector<std::byte> bytes(m.rows * n);
  for (size_t r = 0; r < m.rows; ++r) codec(dtype).encode(m.row(r).data(), &bytes[r * n], m.cols);
  return bytes;
}

struct OwnedLowRank {
  std::vector<std::byte> in, out;
  std::unique_ptr<LowRankPredictor> predictor;
};

}  // namespace

NeuronStatistics neuron_statistics(const MlpTrace& trace, size_t n_tokens) {
  NeuronStatistics s;
  s.frequency.resize(trace.n_ff);
  s.value.resize(trace.n_ff);
  std::vector<double> value(trace.n_ff);
  for (size_t t = 0; t < n_tokens; ++t) {
    const auto codes = trace.codes(t);
    for (size_t k = 0; k < codes.size(); ++k) {
      s.frequency[k] += codes[k] != 0;
      value[k] += squared_contribution(codes[k]);
    }
  }
  for (size_t k = 0; k < trace.n_ff; ++k) {
    s.frequency[k] /= float(n_tokens);
    s.value[k] = float(value[k] / double(n_tokens));
    s.density += s.frequency[k] / double(trace.n_ff);
    s.mean_value += s.value[k] / double(trace.n_ff);
    if (s.frequency[k] > 0) s.mean_when_active += s.value[k] / s.frequency[k] / double(trace.n_ff);
  }
  return s;
}

void add_value(const NeuronStatistics& s, std::span<float> bias) {
  for (size_t k = 0; k < bias.size(); ++k) {
    const double when_active = s.frequency[k] > 0 ? s.value[k] / s.frequency[k] : 0.0;
    bias[k] += float(std::log(std::max(when_active / std::max(s.mean_when_active, 1e-30), 1e-4)));
  }
}

std::shared_ptr<const Predictor> make_low_rank(const LowRankFit& fit, DType dtype, bool relu) {
  auto owned = std::make_shared<OwnedLowRank>();
  const DType in = fitting_dtype(dtype, fit.in.cols), out = fitting_dtype(dtype, fit.out.cols);
  owned->in = encode(fit.in, in);
  owned->out = encode(fit.out, out);
  owned->predictor = std::make_unique<LowRankPredictor>(
      LowRankWeights{{in, owned->in.data(), fit.in.rows, fit.in.cols, row_bytes(in, fit.in.cols)},
                     {out, owned->out.data(), fit.out.rows, fit.out.cols, row_bytes(out, fit.out.cols)},
                     fit.bias,
                     relu});
  const Predictor* predictor = owned->predictor.get();
  return {std::move(owned), predictor};
}

std::shared_ptr<const Predictor> make_hot_set(const NeuronStatistics& s, size_t n_in) {
  std::vector<float> scores(s.value.size());
  for (size_t k = 0; k < scores.size(); ++k)
    scores[k] = float(std::log(std::max(s.value[k] / std::max(s.mean_value, 1e-30), 1e-12)));
  return std::make_shared<HotSetPredictor>(std::move(scores), n_in);
}

namespace {

void try_out(Compute& compute, const Trial& trial, std::span<Histogram> histograms) {
  constexpr size_t kBatch = 256;
  const MlpTrace& trace = *trial.trace;
  Matrix X, scores;
  for (size_t begin = trial.first; begin < trace.n_tokens; begin += kBatch) {
    compute.throw_if_stopped();
    const size_t b = std::min(kBatch, trace.n_tokens - begin);
    scores = Matrix(b, trace.n_ff);
    if (trial.predictor) {
      X = Matrix(b, trace.n_embd);
      trace.read(trace.input, begin, X.view());
      trial.predictor->score(compute, X.view(), scores.view());
    } else {
      std::ranges::fill(scores.values, std::numeric_limits<float>::infinity());
    }
    compute.threads.parallel_for(b, 4, [&](size_t from, size_t to, size_t thread) {
      Histogram& h = histograms[thread];
      for (size_t t = from; t < to; ++t) {
        const auto codes = trace.codes(begin + t);
        for (size_t k = 0; k < codes.size(); ++k) {
          const size_t bin = bin_of(scores.row(t)[k]);
          ++h.all[bin];
          h.active[bin] += codes[k] != 0;
          h.value[bin] += squared_contribution(codes[k]);
        }
      }
    });
  }
}

}  // namespace

DensityCurve measure_curve(Compute& compute, std::span<const Trial> trials) {
  std::vector<Histogram> histograms(compute.threads.n_threads());
  for (const Trial& trial : trials) try_out(compute, trial, histograms);
  Histogram sum;
  for (const Histogram& h : histograms)
    for (size_t b = 0; b < kBins; ++b) sum.all[b] += h.all[b], sum.active[b] += h.active[b], sum.value[b] += h.value[b];

  double value = 0, active = 0, all = 0;
  for (size_t b = 0; b < kBins; ++b) value += sum.value[b], active += double(sum.active[b]), all += double(sum.all[b]);
  DensityCurve curve = {{-std::numeric_limits<float>::infinity(), 1, 0, 1}};
  double left_out = 0, missed = 0, lost = 0;
  for (size_t b = 0; b + 1 < kBins; ++b) {
    left_out += double(sum.all[b]);
    missed += double(sum.active[b]);
    lost += sum.value[b];
    const double density = 1 - left_out / all;
    // A few points per halving of the density are enough.
    if (density > 0 && density < 0.96 * curve.back().density)
      curve.push_back({lower_end(b + 1), float(density), float(lost / std::max(value, 1e-30)),
                       float(1 - missed / std::max(active, 1.0))});
  }
  return lower_hull(std::move(curve));
}

}  // namespace hunch
