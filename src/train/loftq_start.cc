#include "train/loftq_start.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/error.h"
#include "kernels/ops.h"
#include "kernels/orthonormalise.h"
#include "train/random_values.h"

namespace hunch {
namespace {

// U^T [rank, n_out], orthonormal, and V [rank, n_in] = U^T R, of the largest directions of R.
void largest_directions(Compute& compute, MatView<const float> R, MatView<float> Ut, MatView<float> V) {
  constexpr int kRounds = 8;
  for (int round = 0; round < kRounds; ++round) {
    orthonormalise(V);
    multiply_nt(compute, Precision::kF32, V, R, Ut);
    orthonormalise(Ut);
    multiply_nn(compute, Precision::kF32, Ut, R, Into::kReplaces, V);
  }
}

void begin_with_difference(Compute& compute, const Projection& p, const Linear& original, uint64_t seed) {
  const Projection::LowRank& own = *p.low_rank();
  const Linear& base = p.base();
  const Arena::Scope scope(compute.arena);
  const MatView<float> R = take_matrix(compute, base.n_out, base.n_in), W = take_matrix(compute, base.n_out, base.n_in);
  original.decode(compute, R);
  base.decode(compute, W);
  add_scaled(compute, -1.0f, W, R);
  const MatView<float> V = own.A->value, Ut = take_matrix(compute, V.rows, base.n_out);
  RandomValues random(seed, own.A->name);
  for (float& v : own.A->values()) v = random.normal();
  largest_directions(compute, R, Ut, V);
  for (size_t k = 0; k < V.rows; ++k) {  // both halves get the root of the direction's size
    const float size = std::sqrt(dot(V.row(k), V.row(k)) / (own.options.scale() * own.options.scale()));
    const float root = std::sqrt(size);
    scale(size > 0 ? 1 / (root * own.options.scale()) : 0.0f, V.row(k));
    for (size_t r = 0; r < base.n_out; ++r) own.B->value.row(r)[k] = root * Ut.row(k)[r];
  }
}

}  // namespace

void begin_with_difference(Network& network, const Model& original, uint64_t seed) {
  std::map<LinearId, const Linear*> theirs;
  std::as_const(original).weights().for_each_linear([&](const Linear& linear) { theirs[linear.id] = &linear; });
  size_t n_begun = 0;
  for (const auto& block : network.blocks())
    block->for_each_projection([&](Projection& p) {
      if (!p.low_rank()) return;
      const auto found = theirs.find(p.base().id);
      if (found == theirs.end() || found->second->n_out != p.base().n_out || found->second->n_in != p.base().n_in)
        fail(ErrorKind::kUnsupported, "the original (loftq) has no '{}' of [{}, {}]: is it another model?",
             network.model().weights().tensors.at(p.base().id).name, p.base().n_out, p.base().n_in);
      begin_with_difference(network.compute(), p, *found->second, seed);
      p.begin_magnitudes(network.compute());
      ++n_begun;
    });
  if (n_begun == 0)
    fail(ErrorKind::kUsage, "what rounding lost (loftq) is where adapters of low rank begin: none is trained");
}

}  // namespace hunch
