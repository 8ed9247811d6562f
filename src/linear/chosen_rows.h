// Products of a batch of tokens in which every token needs rows of its own.
#pragma once
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "base/rows.h"
#include "formats/weight_view.h"
#include "kernels/matmul.h"

namespace hunch {

// How the rows are read. The result is the same to rounding.
enum class RowPath : uint8_t {
  kOwn,    // each token's own rows, token after token: rows that several tokens need are read again for each
  kUnion,  // the rows that any token needs, each once for all tokens
  kAll,    // every row once for all tokens: the dense product
};
constexpr size_t kNumRowPaths = 3;
const char* name_of(RowPath path);  // "own", "union", "all"

struct ChosenRows {
  std::span<const Rows> own;     // [n_tokens], of n rows each
  const Rows* any = nullptr;     // their union
  RowPath path = RowPath::kAll;  // kAll where `any` is all rows
  // Where row i lies in W: at place[i], of any number of rows; none: at i. Not with RowPath::kAll, or who has all rows.
  const uint32_t* place = nullptr;
};

// Y[t, i] = dot(W[i, :], X[t, :]) + bias[i] for every row i of own[t], and 0 for the others: a token's result does not
// depend on what its companions need.
//
//   W [n, n_in]   bias [n] or empty   X [n_tokens, n_in]   Y [n_tokens, n], written; may not overlap X
void dot_chosen(Compute& compute, const WeightView& W, std::span<const float> bias, const ChosenRows& rows,
                MatView<const float> X, MatView<float> Y);

// Y[t, :] = sum of A[t, i] * W[i, :] over the rows i of own[t] + bias.
//
//   W [n, n_out]   bias [n_out] or empty   A [n_tokens, n], for RowPath::kAll 0 outside of own[t]
//   Y [n_tokens, n_out], written; may not overlap A
void add_chosen(Compute& compute, const WeightView& W, std::span<const float> bias, const ChosenRows& rows,
                MatView<const float> A, MatView<float> Y);

}  // namespace hunch
