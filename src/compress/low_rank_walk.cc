#include "compress/low_rank_walk.h"

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "base/memory_info.h"
#include "compress/whitened_svd.h"
#include "formats/format.h"
#include "io/file_types.h"
#include "linear/low_rank.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kWindow = 512;  // tokens that see each other

WeightView encode(const Matrix& A, DType dtype, AlignedBuffer& bytes) {
  const size_t stride = row_bytes(dtype, A.cols);
  bytes = AlignedBuffer(A.rows * stride);
  for (size_t r = 0; r < A.rows; ++r) codec(dtype).encode(A.row(r).data(), bytes.data() + r * stride, A.cols);
  return {dtype, bytes.data(), A.rows, A.cols, stride};
}

Matrix decode(Compute& compute, const WeightView& W) {
  Matrix out(W.rows, W.cols);
  decode_rows(compute, W, out.view());
  return out;
}

}  // namespace

LowRankWalk::LowRankWalk(const Engine& engine, std::span<const int32_t> ids, const LowRankOptions& options, DType dtype,
                         const Progress& progress)
    : engine_(engine),
      options_(options),
      dtype_(dtype),
      progress_(progress),
      walk_(engine, ids, {options.n_tokens, kWindow}) {
  for (const Layer& layer : engine.model->weights().layers) n_matrices_ += chosen(layer.config.index).size();
  check_memory();
}

bool LowRankWalk::chooses(Role role) const { return std::ranges::find(options_.roles, role) != options_.roles.end(); }

std::vector<std::unique_ptr<Linear>*> LowRankWalk::slots(size_t layer) const {
  std::vector<std::unique_ptr<Linear>*> found;
  engine_.model->weights().layers[layer].for_each_linear([&](std::unique_ptr<Linear>& linear) {
    if (chooses(linear->id.role)) found.push_back(&linear);
  });
  return found;
}

std::vector<const Linear*> LowRankWalk::chosen(size_t layer) const {
  std::vector<const Linear*> matrices;
  for (const auto* slot : slots(layer)) matrices.push_back(slot->get());
  return matrices;
}

LowRankWalk::Shape LowRankWalk::shape_of(const Linear& matrix) const {
  const size_t rank =
      in_whole_lines(rank_of_ratio(options_.ratio, matrix.n_out, matrix.n_in, info(dtype_).block_elems));
  return {rank, fitting_dtype(dtype_, rank), fitting_dtype(dtype_, matrix.n_in)};
}

// One layer's moments, and what the threads need to factorise one matrix each, in double precision.
void LowRankWalk::check_memory() const {
  uint64_t moments = 0, matrix = 0;
  for (const Layer& layer : engine_.model->weights().layers) {
    moments = std::max(moments, InputMoments::bytes_needed(layer));
    for (const Linear* w : chosen(layer.config.index)) {
      const uint64_t least = std::min(w->n_out, w->n_in), size = uint64_t{w->n_out} * w->n_in;
      matrix = std::max(matrix, sizeof(double) * (4 * size + 3 * uint64_t{w->n_in} * w->n_in + 3 * least * least));
    }
  }
  require_memory(moments + matrix * engine_.compute->threads.n_threads(), "factorising a layer",
                 "fewer threads take less");
}

std::span<const LowRankPair> LowRankWalk::pairs(size_t layer) {
  while (n_layers_done_ <= layer) compress_next();
  HUNCH_CHECK(layer + 1 == n_layers_done_, "layer {} is asked for after layer {}", layer, n_layers_done_ - 1);
  return pairs_;
}

void LowRankWalk::compress_next() {
  Compute& compute = *engine_.compute;
  walk_.next();
  const std::vector<const Linear*> matrices = chosen(walk_.layer());
  InputMoments moments(compute);
  walk_.compute(&moments);
  pairs_.clear();
  pairs_.resize(matrices.size());
  std::mutex mutex;
  compute.threads.parallel_for_dynamic(matrices.size(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      compute.throw_if_stopped();
      pairs_[i] = fit(*matrices[i], moments.of(matrices[i]->id));
      const std::lock_guard lock(mutex);
      ++n_done_;
      if (progress_) progress_(fmt::format("layer {}", walk_.layer()), n_done_, n_matrices_);
    }
  });
  moments.clear();
  ++n_layers_done_;
  if (n_layers_done_ < engine_.config().n_layer) leave_compressed(walk_.layer());
}

// On the calling thread: the threads share out the matrices.
LowRankPair LowRankWalk::fit(const Linear& matrix, const InputMoment& moment) const {
  Compute alone(1);
  const Shape shape = shape_of(matrix);
  const Matrix W = decode(alone, Values(alone, matrix).rows());
  const bool seen = moment.n_tokens > 0;
  const LowRankFactors best =
      options_.kind == SvdOf::kScaledWeights && seen
          ? factorise_scaled(W, asvd_scales(moment.magnitudes, moment.n_tokens), shape.rank)
          : factorise(W, options_.kind == SvdOf::kOutputs && seen ? &moment.sum : nullptr, shape.rank);
  LowRankPair pair;
  pair.id = matrix.id;
  pair.n_tokens = moment.n_tokens;
  pair.U = encode(best.U, shape.U, pair.u_bytes);
  pair.V = encode(best.V, shape.V, pair.v_bytes);
  if (seen) pair.error = output_error(W, {decode(alone, pair.U), decode(alone, pair.V)}, moment.sum);
  return pair;
}

// What the next layer is entered by: this one computed with its pairs, which then make room for the model's own again.
void LowRankWalk::leave_compressed(size_t layer) {
  const std::vector<std::unique_ptr<Linear>*> slots = this->slots(layer);
  std::vector<std::unique_ptr<Linear>> own(slots.size());
  const Layouts& layouts = engine_.model->layouts();
  for (size_t i = 0; i < slots.size(); ++i) {
    const LowRankPair& p = pairs_[i];
    own[i] = std::move(*slots[i]);
    const std::span<const float> bias = own[i]->bias();
    const auto stored = [&](const WeightView& W, std::vector<float> values) {
      return std::make_unique<Stored>(p.id, W, WeightView(), std::move(values), layouts);
    };
    *slots[i] = std::make_unique<LowRank>(p.id, stored(p.U, {bias.begin(), bias.end()}), stored(p.V, {}));
  }
  const auto restore = [&] {
    for (size_t i = 0; i < slots.size(); ++i) *slots[i] = std::move(own[i]);
  };
  try {
    walk_.compute();
  } catch (...) {
    restore();
    throw;
  }
  restore();
}

}  // namespace hunch
