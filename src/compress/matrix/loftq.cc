#include "compress/matrix/loftq.h"

#include <cmath>

#include "base/error.h"
#include "compress/matrix/awq.h"
#include "linear/values.h"

namespace hunch {
namespace {

Matrix difference(const Matrix& A, const Matrix& B) {
  Matrix out = A;
  for (size_t i = 0; i < out.values.size(); ++i) out.values[i] -= B.values[i];
  return out;
}

double squared(const Matrix& A) {
  double sum = 0;
  for (const float v : A.values) sum += double(v) * v;
  return sum;
}

}  // namespace

LoftqSplit loftq(Compute& compute, const Matrix& W, const BlockTarget& target, size_t rank, size_t rounds,
                 const Matrix* moment) {
  HUNCH_CHECK(rounds > 0 && rank > 0 && rank <= std::min(W.rows, W.cols), "rank {}, {} rounds", rank, rounds);
  LoftqSplit best;
  double least = INFINITY;
  Matrix pair(W.rows, W.cols);
  for (size_t round = 0; round < rounds; ++round) {
    compute.throw_if_stopped();
    LoftqSplit split;
    split.base = encode_nearest(compute, difference(W, pair), target);
    Matrix rounded(W.rows, W.cols);
    decode_rows(compute, split.base.view(), rounded.view());
    const Matrix lost = difference(W, rounded);
    split.pair = factorise(lost, moment, rank);
    pair = multiply_nn(compute, split.pair.U.view(), split.pair.V.weights());
    const double error = moment ? output_error(compute, lost, pair, *moment) : squared(difference(lost, pair));
    if (error < least) least = error, best = std::move(split);
  }
  return best;
}

}  // namespace hunch
