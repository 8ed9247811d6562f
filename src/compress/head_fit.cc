#include "compress/head_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "formats/format.h"
#include "io/file_types.h"
#include "kernels/ops.h"
#include "select/hot_set.h"
#include "select/linear_predictor.h"

namespace hunch {
namespace {

constexpr size_t kBatch = 1024;
constexpr float kLeastShare = 1e-5f;  // below it a group adds nothing: where the logarithm ends
constexpr float kNeeded = 0.9f;       // share of the squared contributions that "needed" groups carry

struct OwnedLinear {
  std::vector<std::byte> weights;
  std::unique_ptr<LinearPredictor> predictor;
};

std::shared_ptr<const Predictor> make_linear(const Matrix& W, std::vector<float> bias) {
  auto owned = std::make_shared<OwnedLinear>();
  const DType dtype = fitting_dtype(DType::kQ8_0, W.cols);
  const size_t n = row_bytes(dtype, W.cols);
  owned->weights.resize(W.rows * n);
  for (size_t r = 0; r < W.rows; ++r) codec(dtype).encode(W.row(r).data(), &owned->weights[r * n], W.cols);
  owned->predictor =
      std::make_unique<LinearPredictor>(WeightView{dtype, owned->weights.data(), W.rows, W.cols, n}, std::move(bias));
  const Predictor* predictor = owned->predictor.get();
  return {std::move(owned), predictor};
}

// Means and covariances of the input and of the targets: shares, then their logarithms.
struct Moments {
  std::vector<double> mean_x, mean_y;
  Matrix xx, yx;  // [n_embd, n_embd], [2 * n_groups, n_embd]
};

float log_share(float s) { return std::log(std::max(s, kLeastShare)); }

Moments moments_of(Compute& compute, const HeadTrace& trace, size_t n_tokens) {
  const size_t n = trace.n_embd, g = trace.n_groups;
  Moments m{std::vector<double>(n), std::vector<double>(2 * g), Matrix(n, n), Matrix(2 * g, n)};
  const auto read = [&](size_t first, size_t b, Matrix& X, Matrix& Y) {
    X = Matrix(b, n), Y = Matrix(b, 2 * g);
    trace.read(first, X.view());
    for (size_t r = 0; r < b; ++r)
      for (size_t k = 0; k < g; ++k)
        Y.row(r)[k] = trace.shares(first + r)[k], Y.row(r)[g + k] = log_share(trace.shares(first + r)[k]);
  };
  Matrix X, Y;
  for (size_t first = 0; first < n_tokens; first += kBatch) {
    read(first, std::min(kBatch, n_tokens - first), X, Y);
    for (size_t r = 0; r < X.rows; ++r) {
      for (size_t i = 0; i < n; ++i) m.mean_x[i] += double(X.row(r)[i]) / double(n_tokens);
      for (size_t k = 0; k < 2 * g; ++k) m.mean_y[k] += double(Y.row(r)[k]) / double(n_tokens);
    }
  }
  for (size_t first = 0; first < n_tokens; first += kBatch) {
    compute.throw_if_stopped();
    read(first, std::min(kBatch, n_tokens - first), X, Y);
    for (size_t r = 0; r < X.rows; ++r) {
      for (size_t i = 0; i < n; ++i) X.row(r)[i] -= float(m.mean_x[i]);
      for (size_t k = 0; k < 2 * g; ++k) Y.row(r)[k] -= float(m.mean_y[k]);
    }
    add(multiply_nn(compute, transpose(compute, X.view()).view(), X.weights()).values, m.xx.values);
    add(multiply_nn(compute, transpose(compute, Y.view()).view(), X.weights()).values, m.yx.values);
  }
  scale(1.0f / float(n_tokens), m.xx.values);
  scale(1.0f / float(n_tokens), m.yx.values);
  return m;
}

DensityCurve measure(Compute& compute, const Predictor& predictor, const HeadTrace& trace, size_t first, size_t n) {
  struct Scored {
    float score, share;
    bool needed;
  };
  std::vector<Scored> all;
  all.reserve(n * trace.n_groups);
  std::vector<uint32_t> order(trace.n_groups);
  size_t n_needed = 0;
  for (size_t begin = first; begin < first + n; begin += kBatch) {
    compute.throw_if_stopped();
    const size_t b = std::min(kBatch, first + n - begin);
    Matrix X(b, trace.n_embd), scores(b, trace.n_groups);
    trace.read(begin, X.view());
    predictor.score(compute, X.view(), scores.view());
    for (size_t t = 0; t < b; ++t) {
      const auto shares = trace.shares(begin + t);
      std::iota(order.begin(), order.end(), 0u);
      std::ranges::sort(order, std::greater<>(), [&](uint32_t g) { return shares[g]; });
      float carried = 0;
      for (const uint32_t g : order) {
        const bool needed = carried < kNeeded && shares[g] > 0;
        carried += shares[g];
        n_needed += needed;
        all.push_back({scores.row(t)[g], shares[g], needed});
      }
    }
  }
  std::ranges::sort(all, {}, &Scored::score);
  DensityCurve curve = {{-std::numeric_limits<float>::infinity(), 1, 0, 1}};
  double lost = 0;
  size_t missed = 0;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    lost += all[i].share;
    missed += all[i].needed;
    if (!(all[i].score < all[i + 1].score)) continue;
    const double density = 1 - double(i + 1) / double(all.size());
    if (density < 0.96 * curve.back().density)
      curve.push_back({all[i].score, float(density), float(lost / double(n)),
                       float(1 - double(missed) / double(std::max<size_t>(n_needed, 1)))});
  }
  return lower_hull(std::move(curve));
}

}  // namespace

HeadFit fit_heads(const Engine& engine, const HeadTrace& trace, size_t n_train, bool lazy_keys) {
  Compute& compute = *engine.compute;
  const Attention& w = engine.model->weights().layers[trace.layer].attention;
  HeadFit fit;
  const size_t kv_row = w.k->n_out * sizeof(float);
  fit.selected_bytes = double(w.q->bytes() + w.o->bytes() + 2 * kTypicalContext * kv_row);
  (lazy_keys ? fit.selected_bytes : fit.always_bytes) += double(w.k->bytes() + w.v->bytes());
  if (trace.input.empty() || trace.n_groups < 2) return fit;
  const auto add = [&](std::string name, std::shared_ptr<const Predictor> predictor) {
    DensityCurve curve = measure(compute, *predictor, trace, n_train, trace.n_tokens - n_train);
    fit.candidates.push_back({std::move(name), std::move(predictor), std::move(curve)});
  };
  const Moments m = moments_of(compute, trace, n_train);
  add("hot", std::make_shared<HotSetPredictor>(
                 std::vector<float>(m.mean_y.begin(), m.mean_y.begin() + ptrdiff_t(trace.n_groups)), trace.n_embd));
  const Matrix L = cholesky(compute, m.xx, 0.01);
  Matrix W = m.yx;
  solve_lower(compute, L, W.view());
  solve_lower_transposed(compute, L, W.view());
  for (const size_t first : {size_t{0}, trace.n_groups}) {
    Matrix part(trace.n_groups, trace.n_embd);
    std::vector<float> bias(trace.n_groups);
    for (size_t g = 0; g < trace.n_groups; ++g) {
      std::ranges::copy(W.row(first + g), part.row(g).begin());
      double b = m.mean_y[first + g];
      for (size_t i = 0; i < trace.n_embd; ++i) b -= double(part.row(g)[i]) * m.mean_x[i];
      bias[g] = float(b);
    }
    add(first == 0 ? "linear" : "linear log", make_linear(part, std::move(bias)));
  }
  return fit;
}

}  // namespace hunch
