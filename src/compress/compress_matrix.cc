#include "compress/compress_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "compress/matrix/awq.h"
#include "compress/matrix/gptq.h"
#include "compress/matrix/nf4.h"
#include "compress/matrix/sparsegpt.h"
#include "compress/smooth_layer.h"
#include "linear/values.h"

namespace hunch {
namespace {

// In 8 bits, inputs too.
void round_to_int8(Compute& compute, const Matrix& W, const InputMoment& moment, std::span<const uint32_t> outliers,
                   const Int8Options& options, CompressedMatrix& out) {
  Int8Inputs inputs = inputs_of(moment);
  inputs.outliers = outliers;
  Int8Matrix rounded = int8_matrix(W, inputs, options);
  out.n_zeros = uint64_t(std::ranges::count(rounded.codes.bytes.bytes(), std::byte{0}));
  out.error = int8_error(compute, W, rounded, moment.sample);
  out.encoded = std::move(rounded.codes);
  out.int8 = std::move(rounded.side);
}

Matrix decoded(Compute& compute, const EncodedMatrix& encoded) {
  Matrix out(encoded.rows, encoded.cols);
  decode_rows(compute, encoded.view(), out.view());
  return out;
}

std::vector<float> squares_of(const InputMoment& moment) {
  std::vector<float> squares(moment.sum.rows);
  for (size_t i = 0; i < squares.size(); ++i) squares[i] = moment.sum.row(i)[i];
  return squares;
}

// Of a pruner that changes no other weights.
Mask mask_of(const Matrix& W, const InputMoment& moment, const CompressOptions& options) {
  const bool wanda = options.methods.pruner == Pruner::kWanda && moment.n_tokens > 0;
  const Matrix score = wanda ? wanda_score(W, squares_of(moment)) : magnitude_score(W);
  const Sparsity& s = options.sparsity;
  if (s.m) return prune_pattern(score, s.pruned, s.m);
  if (options.magnitude_limit) {
    Mask mask(score.values.size());
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = score.values[i] <= *options.magnitude_limit;
    return mask;
  }
  const bool by_row = options.methods.pruner == Pruner::kWanda || options.scope == PruneScope::kRow;
  return by_row ? prune_rows(score, s.share) : prune_matrix(score, s.share);
}

EncodedMatrix as_f32(const Matrix& W) {
  EncodedMatrix out(DType::kF32, W.rows, W.cols);
  std::memcpy(out.bytes.data(), W.values.data(), W.values.size() * sizeof(float));
  return out;
}

void keep_codes(CodedMatrix coded, CompressedMatrix& out) {
  out.encoded = as_f32(coded.values);
  out.coded = {std::move(coded.codes), std::move(coded.scale), std::move(coded.zero)};
}

// In a sweep, with the zeros of a pruner kept where there is one.
template <class Rule>
void sweep_with(Compute& compute, const Matrix& W, const InputMoment& moment, const InverseHessian& inverse,
                const CompressOptions& options, Rule& rounder) {
  Matrix open = in_sweep_order(W, inverse);
  if (options.methods.pruner == Pruner::kNone) {
    sweep_columns(compute, inverse, 128, rounder, open);
    return;
  }
  const bool joint = options.methods.pruner == Pruner::kSparseGpt;
  PruneRule pruner = joint ? PruneRule(inverse, options.sparsity, W.rows, &rounder)
                           : PruneRule(inverse, mask_of(W, moment, options), W.rows, &rounder);
  sweep_columns(compute, inverse, 128, pruner, open);
}

}  // namespace

const InverseHessian& InverseCache::of(const InputMoment& moment) {
  if (moment_ == &moment) return inverse_;
  inverse_ = {};
  inverse_ = invert_hessian(moment.sum, {options_.damping, options_.act_order}, &compute_);
  moment_ = &moment;
  return inverse_;
}

double relative_error(Compute& compute, const Matrix& A, const Matrix& B, const Matrix& M) {
  const double whole = output_error(compute, A, Matrix(A.rows, A.cols), M);
  return whole > 0 ? std::sqrt(output_error(compute, A, B, M) / whole) : 0;
}

CompressedMatrix compress_matrix(Compute& compute, const LinearId& id, const Matrix& W, const InputMoment& moment,
                                 InverseCache& inverses, const BlockTarget& target, const CompressOptions& options,
                                 std::span<const uint32_t> outliers) {
  CompressedMatrix out;
  out.id = id;
  out.n_tokens = moment.n_tokens;
  const Methods& methods = options.methods;
  const bool seen = moment.n_tokens > 0;
  // Where rows are no whole blocks of anything, they stay floats: there is nothing to make up for.
  const bool on_grid = target.grid && target.dtype == DType::kF32;
  const bool sweeps = seen && methods.rounder == Rounder::kGptq && (on_grid || find_code_layout(target.dtype));
  const bool drops = methods.pruner != Pruner::kNone;
  const bool joint = seen && methods.pruner == Pruner::kSparseGpt;
  const InverseHessian* inverse = sweeps || joint ? &inverses.of(moment) : nullptr;
  if (inverse && inverse->damping > options.damping) out.damping = inverse->damping;
  if (sweeps && on_grid) {
    const GptqOptions grid{*target.grid, /*static_groups=*/options.act_order, 128};
    GridRule rounder(W, *inverse, grid);
    sweep_with(compute, W, moment, *inverse, options, rounder);
    keep_codes(std::move(rounder.out), out);
  } else if (sweeps) {
    BlockRule rounder(W, *inverse, target, false);
    sweep_with(compute, W, moment, *inverse, options, rounder);
    out.encoded = std::move(rounder.out);
  } else if (rounds_inputs(methods.rounder)) {
    Matrix kept = joint ? sparsegpt(compute, W, *inverse, options.sparsity) : W;
    if (drops && !joint) apply_mask(mask_of(W, moment, options), kept);
    round_to_int8(compute, kept, moment, outliers, options.int8, out);
    return out;
  } else if (methods.rounder == Rounder::kNf4) {
    Matrix kept = joint ? sparsegpt(compute, W, *inverse, options.sparsity) : W;
    if (drops && !joint) apply_mask(mask_of(W, moment, options), kept);
    out.encoded = encode_nearest(compute, decode(nf4(kept, true)), target);
  } else {
    Matrix kept = joint ? sparsegpt(compute, W, *inverse, options.sparsity) : W;
    if (drops && !joint) apply_mask(mask_of(W, moment, options), kept);
    if (on_grid) {
      keep_codes(round_to_nearest(kept, *target.grid), out);
    } else {
      out.encoded = encode_nearest(compute, kept, target);
    }
  }
  const Matrix got = decoded(compute, out.encoded);
  out.n_zeros = uint64_t(std::ranges::count(got.values, 0.0f));
  if (seen) out.error = relative_error(compute, W, got, moment.sum);
  return out;
}

}  // namespace hunch
