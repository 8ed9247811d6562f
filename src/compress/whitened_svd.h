// The product of two thin matrices that is nearest to a matrix, on the inputs that it meets.
#pragma once
#include <cstddef>
#include <span>

#include "compress/linear_algebra.h"

namespace hunch {

struct LowRankFactors {
  Matrix U, V;  // [n_out, rank], [rank, n_in]
};

// The largest rank, at least 1, whose factors have at most `ratio` of the parameters of a matrix [n_out, n_in]; where
// `multiple` of it is reached, a multiple of that.
size_t rank_of_ratio(double ratio, size_t n_out, size_t n_in, size_t multiple = 1);
// The largest multiple of 32 in a rank of 256 and more, which loses less than an eighth; a smaller one as it is. Rows
// of U are whole lines of 64 bytes then, also of f16, which are read faster (docs/low-rank.md).
size_t in_whole_lines(size_t rank);

// U V of this rank that minimises ||(W - U V) S||_F, where S S^T is the second moment M = X^T X of the inputs: the
// output's squared error over the tokens X. With W S = P D Q^T it is P_r D_r Q_r^T S^-1, the singular values shared out
// evenly (SVD-LLM, Wang et al. 2024, arXiv:2403.07378, section 3.1). A little of M's mean diagonal is added to its
// diagonal, so that inputs that were never met do not blow up. No moment: S = I, the plain SVD.
//
//   W [n_out, n_in]   moment [n_in, n_in], or null   rank <= min(n_out, n_in)
//
// In double precision, on the calling thread; O(n_out n_in min(n_out, n_in)). Throws Error{kFormat} for values that are
// not finite.
LowRankFactors factorise(const Matrix& W, const Matrix* moment, size_t rank);

// U V of this rank that is nearest to W with its columns multiplied by s [n_in] > 0 (ASVD, Yuan et al. 2023,
// arXiv:2312.05821, section 3.2). Throws as above.
LowRankFactors factorise_scaled(const Matrix& W, std::span<const float> s, size_t rank);
// s = (mean |x|)^alpha of every input, plus 1e-6, from the sums of |x| over so many tokens.
std::vector<float> asvd_scales(std::span<const double> magnitudes, size_t n_tokens, double alpha = 0.5);

// ||(W - U V) X^T||_F / ||W X^T||_F of tokens with this second moment; 0 where both are.
double output_error(const Matrix& W, const LowRankFactors& factors, const Matrix& moment);

}  // namespace hunch
