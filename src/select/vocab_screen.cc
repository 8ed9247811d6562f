#include "select/vocab_screen.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {

VocabScreen::VocabScreen(ScreenWeights weights) : w_(std::move(weights)) {
  HUNCH_CHECK(w_.W_in.rows == w_.W_out.cols && w_.outside.size() == n_vocab() && w_.inside.size() == n_vocab(),
              "[{}, {}] and [{}, {}] with {} and {} deviations", w_.W_in.rows, w_.W_in.cols, w_.W_out.rows,
              w_.W_out.cols, w_.outside.size(), w_.inside.size());
}

size_t VocabScreen::bytes() const { return w_.W_in.bytes() + w_.W_out.bytes() + 2 * n_vocab() * sizeof(float); }

void VocabScreen::products(Compute& compute, MatView<const float> X, std::span<const float> bias, MatView<float> hidden,
                           MatView<float> logits, TokenBits bits) const {
  HUNCH_CHECK(X.cols == n_in() && logits.cols == n_vocab() && logits.rows == X.rows,
              "[{}, {}] inputs, [{}, {}] logits for [{}, {}]", X.rows, X.cols, logits.rows, logits.cols, n_vocab(),
              n_in());
  const MatmulTask in{w_.W_in, {}, hidden};
  matmul(compute, X, {&in, 1}, bits);
  const MatmulTask out{w_.W_out, bias, logits};
  matmul(compute, hidden, {&out, 1}, bits);
}

namespace {

VocabScreen::Norms norms_of(std::span<const float> x, std::span<const float> hidden) {
  const float inside = dot(hidden, hidden);
  return {std::sqrt(std::max(dot(x, x) - inside, 0.0f)), std::sqrt(inside)};
}

}  // namespace

VocabScreen::Norms VocabScreen::project(Compute& compute, std::span<const float> x, std::span<const float> bias,
                                        std::span<float> logits) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> hidden(compute.arena.take<float>(rank()).data(), 1, rank());
  products(compute, {x.data(), 1, x.size()}, bias, hidden, {logits.data(), 1, logits.size()}, TokenBits::kAsAlone);
  return norms_of(x, hidden.row(0));
}

void VocabScreen::guess(Compute& compute, MatView<const float> X, std::span<const float> bias, MatView<float> logits,
                        std::span<Rows> shortlists, TokenBits bits) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> hidden(compute.arena.take<float>(X.rows * rank()).data(), X.rows, rank());
  products(compute, X, bias, hidden, logits, bits);
  compute.meter.read_weights(2 * n_vocab() * sizeof(float));  // the deviations
  compute.threads.parallel_for(X.rows, 1, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) list(norms_of(X.row(t), hidden.row(t)), logits.row(t), shortlists[t]);
  });
}

void VocabScreen::list(Norms norms, std::span<const float> logits, Rows& shortlist) const {
  const Norms reach{w_.margin * norms.outside, w_.margin * norms.inside};
  // Lanes of their own, so that the loop is a SIMD one.
  constexpr size_t kLanes = 16;
  float best[kLanes];
  std::ranges::fill(best, -std::numeric_limits<float>::infinity());
  const size_t n = n_vocab(), whole = n / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) {
      const float low = logits[i + j] - deviation(i + j, reach);
      best[j] = best[j] < low ? low : best[j];
    }
  for (size_t i = whole; i < n; ++i) best[0] = std::max(best[0], logits[i] - deviation(i, reach));
  const float least = *std::ranges::max_element(best);
  std::vector<uint32_t>& rows = shortlist.refill(n);
  for (size_t i = 0; i < n; ++i) {
    if (logits[i] + deviation(i, reach) < least) continue;
    if (rows.size() == std::max<size_t>(n / 8, 1)) return shortlist.refill_all(n);
    rows.push_back(uint32_t(i));
  }
  if (rows.empty()) shortlist.refill_all(n);  // a NaN: nothing is above anything
}

void VocabScreen::save(ArchiveWriter& archive) const {
  archive.matrix("_in.weight", w_.W_in);
  archive.matrix("_out.weight", w_.W_out);
  archive.floats(".outside", w_.outside);
  archive.floats(".inside", w_.inside);
  archive.number(".margin", double(w_.margin));
}

std::shared_ptr<const VocabScreen> VocabScreen::load(const ArchiveReader& archive) {
  ScreenWeights w;
  w.W_in = archive.matrix("_in.weight", 0, 0);
  w.W_out = archive.matrix("_out.weight", 0, w.W_in.rows);
  w.outside = archive.floats(".outside", w.W_out.rows);
  w.inside = archive.floats(".inside", w.W_out.rows);
  w.margin = float(archive.number(".margin", 0));
  return std::make_shared<const VocabScreen>(std::move(w));
}

}  // namespace hunch
