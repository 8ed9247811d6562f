#include "compress/screen_fit.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "compress/linear_algebra.h"
#include "formats/format.h"
#include "io/file_types.h"
#include "kernels/ops.h"
#include "kernels/orthonormalise.h"

namespace hunch {
namespace {

constexpr size_t kTrainTokens = 4096, kCalibrateTokens = 1024, kBatch = 64;
constexpr double kSpareMargin = 1.1, kWorthwhile = 0.8;
// Rounding of products of 8-bit numbers, relative to the norms of both sides; only its order matters, the margin scales
// it.
constexpr float kRounding = 0.005f;

// What enters the output projection, a row per token.
class FinalStates : public Observer {
 public:
  explicit FinalStates(size_t n_in) { states.cols = n_in; }
  void on_final(MatView<const float> final) override {
    for (size_t r = 0; r < final.rows; ++r)
      states.values.insert(states.values.end(), final.row(r).begin(), final.row(r).end());
    states.rows += final.rows;
  }
  Matrix states;
};

Matrix final_states(const Engine& engine, std::span<const int32_t> ids, size_t most) {
  ids = ids.first(std::min(ids.size(), most));
  ContextOptions options;
  options.mode = "dense";
  options.n_ctx = std::min<size_t>({512, engine.config().n_ctx_train, Context::kBatchTokens});
  Context context(engine, options);
  FinalStates watch(engine.model->weights().output->n_in);
  context.set_observer(&watch);
  for (size_t begin = 0; begin < ids.size(); begin += context.n_ctx()) {
    engine.compute->throw_if_stopped();
    context.truncate(0);
    context.append_all(ids.subspan(begin, std::min(context.n_ctx(), ids.size() - begin)),
                       [](size_t, MatView<const float>) {});
  }
  return std::move(watch.states);
}

// The leading eigenvectors of X^T X, one per row, by falling eigenvalue: subspace iteration.
Matrix principal_directions(Compute& compute, const Matrix& X, size_t rank) {
  const Matrix C = multiply_nn(compute, transpose(compute, X.view()).view(), X.weights());
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  Matrix V(std::min(rank + 16, X.cols), X.cols);
  for (float& v : V.values) v = normal(rng);
  orthonormalise(V.view());
  for (int i = 0; i < 8; ++i) {
    compute.throw_if_stopped();
    V = multiply_nt(compute, V.view(), C.weights());
    orthonormalise(V.view());
  }
  const Matrix rotation =
      eigenvectors(multiply_nt(compute, multiply_nt(compute, V.view(), C.weights()).view(), V.weights()));
  V = multiply_nn(compute, rotation.view(), V.weights());
  V.values.resize(rank * V.cols);
  V.rows = rank;
  return V;
}

struct OwnedScreen {
  std::vector<std::byte> in, out;
  std::unique_ptr<VocabScreen> screen;
};

std::vector<std::byte> encode(const Matrix& m, size_t rows, size_t cols, DType dtype) {
  const size_t n = row_bytes(dtype, cols);
  std::vector<std::byte> bytes(rows * n);
  for (size_t r = 0; r < rows; ++r) codec(dtype).encode(m.row(r).data(), &bytes[r * n], cols);
  return bytes;
}

// The first `rank` directions; `along` [n_vocab, most] the rows' parts, `squares` [n_vocab] the rows' squared norms.
std::shared_ptr<const VocabScreen> make_screen(const Matrix& directions, const Matrix& along,
                                               std::span<const double> squares, size_t rank, float margin) {
  const size_t n_in = directions.cols, n_vocab = along.rows;
  const DType in = fitting_dtype(DType::kQ8_0, n_in), out = fitting_dtype(DType::kQ8_0, rank);
  auto owned = std::make_shared<OwnedScreen>();
  owned->in = encode(directions, rank, n_in, in);
  owned->out = encode(along, n_vocab, rank, out);
  ScreenWeights w{{in, owned->in.data(), rank, n_in, row_bytes(in, n_in)},
                  {out, owned->out.data(), n_vocab, rank, row_bytes(out, rank)},
                  {},
                  {},
                  margin};
  const double free = std::max<double>(double(n_in) - double(rank), 1);
  for (size_t i = 0; i < n_vocab; ++i) {
    const double inside = dot(along.row(i).first(rank), along.row(i).first(rank));
    w.outside.push_back(
        float(std::sqrt(std::max(squares[i] - inside, 0.0) / free) + kRounding * std::sqrt(squares[i] / double(n_in))));
    w.inside.push_back(kRounding * float(std::sqrt(inside / double(rank))));
  }
  owned->screen = std::make_unique<VocabScreen>(std::move(w));
  return {owned, owned->screen.get()};
}

// each(token, exact logits).
template <typename Each>
void for_each_exact(Compute& compute, const Linear& output, const Matrix& X, const Each& each) {
  for (size_t begin = 0; begin < X.rows; begin += kBatch) {
    compute.throw_if_stopped();
    const MatView<const float> x = X.view().row_range(begin, std::min(kBatch, X.rows - begin));
    const Matrix exact = multiply_nt(compute, x, output.rows());
    for (size_t t = 0; t < exact.rows; ++t) each(begin + t, exact.row(t));
  }
}

// The largest |guess - logit| in deviations.
float largest_error(Compute& compute, const VocabScreen& screen, const Linear& output, const Matrix& X) {
  std::vector<float> guess(output.n_out);
  float worst = 0;
  for_each_exact(compute, output, X, [&](size_t t, std::span<const float> exact) {
    const VocabScreen::Norms norms = screen.project(compute, X.row(t), {}, guess);
    for (size_t i = 0; i < guess.size(); ++i)
      worst = std::max(worst, std::abs(guess[i] - exact[i]) / std::max(screen.deviation(i, norms), 1e-20f));
  });
  return worst;
}

ScreenFit measure(Compute& compute, std::shared_ptr<const VocabScreen> owned, const Linear& output, const Matrix& X) {
  ScreenFit fit;
  const VocabScreen& screen = *owned;
  Rows shortlist;
  std::vector<float> guess(output.n_out), logits(output.n_out);
  for_each_exact(compute, output, X, [&](size_t t, std::span<const float> exact) {
    screen.guess(compute, X.row(t), output.bias(), guess, shortlist);
    (shortlist.is_all() ? fit.all : fit.shortlist) += shortlist.is_all() ? 1 : double(shortlist.size());
    std::ranges::copy(exact, logits.begin());
    if (!output.bias().empty()) add(output.bias(), logits);
    fit.n_same += shortlist.is_all() || std::ranges::binary_search(shortlist.ids(), uint32_t(argmax(logits)));
  });
  fit.n_checked = X.rows;
  const double n = double(X.rows), n_listed = std::max(n - fit.all, 1.0);
  fit.rank = screen.rank();
  fit.full_bytes = double(output.bytes());
  fit.bytes = double(screen.bytes()) + fit.shortlist / n * double(row_bytes(output.rows().dtype, output.n_in)) +
              fit.all / n * fit.full_bytes;
  fit.shortlist /= n_listed;
  fit.all /= n;
  fit.screen = std::move(owned);
  return fit;
}

}  // namespace

ScreenFit fit_screen(const Engine& engine, std::span<const int32_t> train, std::span<const int32_t> calibrate,
                     std::span<const int32_t> check, const Progress& progress) {
  Compute& compute = *engine.compute;
  const Linear& output = *engine.model->weights().output;
  const WeightView W = output.rows();
  const size_t n_in = output.n_in, n_vocab = output.n_out;
  const Matrix X = final_states(engine, train, kTrainTokens), Y = final_states(engine, calibrate, kCalibrateTokens),
               Z = final_states(engine, check, kCalibrateTokens);
  ScreenFit best;
  best.full_bytes = best.bytes = double(output.bytes());
  const size_t most = std::min<size_t>({256, n_in / 2, X.rows});
  if (most < 8 || Y.rows == 0 || Z.rows == 0) return best;
  const Matrix directions = principal_directions(compute, X, most);
  const Matrix along = transpose(compute, multiply_nt(compute, directions.view(), W).view());
  std::vector<double> squares(n_vocab);
  compute.threads.parallel_for(n_vocab, 64, [&](size_t begin, size_t end) {
    std::vector<float> row(n_in);
    for (size_t i = begin; i < end; ++i) {
      codec(W.dtype).decode(W.row(i), row.data(), n_in);
      squares[i] = dot(row, row);
    }
  });
  std::vector<size_t> ranks;
  for (size_t rank = most >= 64 ? most / 32 * 32 : most; rank >= 8; rank = rank > 64 ? rank / 2 / 32 * 32 : rank / 2)
    ranks.push_back(rank);
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (progress) progress("lm_head", i, ranks.size());
    const auto trial = make_screen(directions, along, squares, ranks[i], 0);
    const float margin = float(kSpareMargin) * largest_error(compute, *trial, output, Y);
    const ScreenFit fit = measure(compute, make_screen(directions, along, squares, ranks[i], margin), output, Y);
    if (fit.bytes < best.bytes) best = fit;
  }
  if (progress) progress("lm_head", ranks.size(), ranks.size());
  if (best.screen) best = measure(compute, best.screen, output, Z);
  if (best.bytes > kWorthwhile * best.full_bytes) best.screen = nullptr;
  return best;
}

}  // namespace hunch
