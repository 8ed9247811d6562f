#include "linear/adapter.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// Where the three copies of a part lie, each on cache lines of its own.
size_t padded(size_t n_floats) {
  return round_up(n_floats * sizeof(float), AlignedBuffer::kAlignBytes) / sizeof(float);
}

void turn(MatView<const float> from, float* to) {
  for (size_t r = 0; r < from.rows; ++r)
    for (size_t c = 0; c < from.cols; ++c) to[c * from.rows + r] = from.row(r)[c];
}

std::span<const float> floats(const WeightView& W, size_t row) {
  return {reinterpret_cast<const float*>(W.row(row)), W.cols};
}

}  // namespace

AdapterPart::AdapterPart(MatView<const float> a, MatView<const float> b_by_rank, std::vector<float> gain)
    : gain(std::move(gain)) {
  HUNCH_CHECK(a.rows == b_by_rank.rows, "A of rank {}, B of rank {}", a.rows, b_by_rank.rows);
  const size_t rank = a.rows, n_in = a.cols, n_out = b_by_rank.cols;
  memory_ = AlignedBuffer((2 * padded(rank * n_in) + padded(rank * n_out)) * sizeof(float));
  if (rank == 0) return;
  float* const own_a = memory_.as<float>().data();
  float* const turned_a = own_a + padded(rank * n_in);
  float* const own_b = turned_a + padded(rank * n_in);
  for (size_t r = 0; r < rank; ++r) std::ranges::copy(a.row(r), own_a + r * n_in);
  turn(a, turned_a);
  turn(b_by_rank, own_b);
  A = weight_view(MatView<const float>(own_a, rank, n_in));
  A_by_input = weight_view(MatView<const float>(turned_a, n_in, rank));
  B = weight_view(MatView<const float>(own_b, n_out, rank));
}

void AdapterPart::replace(LinearId id, MatView<const float> W, std::span<const float> bias) {
  saved_ = std::make_unique<Saved>();
  saved_->memory = AlignedBuffer(W.rows * W.cols * sizeof(float));
  float* const own = saved_->memory.as<float>().data();
  for (size_t r = 0; r < W.rows; ++r) std::ranges::copy(W.row(r), own + r * W.cols);
  saved_->linear = std::make_unique<Stored>(id, weight_view(MatView<const float>(own, W.rows, W.cols)), WeightView(),
                                            std::vector<float>(bias.begin(), bias.end()), saved_->layouts);
}

void AdapterPart::fold_row(size_t r, std::span<float> w) const {
  if (const Linear* saved = replacement()) std::ranges::copy(floats(saved->rows(), r), w.begin());
  if (!gain.empty()) scale(1 + gain[r], w);
  for (size_t k = 0; k < rank(); ++k) axpy(floats(B, r)[k], floats(A, k), w);
}

void AdapterPart::fold_column(size_t i, std::span<float> w) const {
  for (size_t r = 0; r < w.size(); ++r) {
    if (const Linear* saved = replacement()) w[r] = floats(saved->rows(), r)[i];
    if (!gain.empty()) w[r] *= 1 + gain[r];
    if (rank()) w[r] += dot(floats(B, r), floats(A_by_input, i));
  }
}

void Adapter::embed(size_t id, std::span<float> y) const {
  if (const AdapterPart* part = find({.role = Role::kEmbedding})) part->fold_row(id, y);
}

size_t Adapter::bytes() const {
  size_t n = 0;
  for (const auto& [id, part] : parts) n += part.bytes();
  n += virtual_tokens.embeddings.size() * sizeof(float);
  for (const auto& layer : virtual_tokens.layers) n += (layer.K.size() + layer.V.size()) * sizeof(float);
  return n;
}

}  // namespace hunch
