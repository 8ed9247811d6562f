// What keys may expect of queries that are yet to come.
// Source: Devoto et al. 2025, "Expected Attention" (arXiv:2510.00636), sections 3.1 and 3.2.
#pragma once
#include <span>
#include <vector>

#include "base/view.h"

namespace hunch {

// A head's queries as a Gaussian.
struct QueryGaussian {
  std::vector<float> mean;        // [d]
  std::vector<float> covariance;  // [d, d]; empty: none

  size_t d() const { return mean.size(); }
};

// Of queries [n, d], of which a row of other heads may lie between two.
QueryGaussian gaussian_of(MatView<const float> queries, bool with_covariance);

// As RoPE turns it on average: mean R, covariance R R^T, where R turns pair i by the mean `cos` and `sin` [n_pairs].
void turn(QueryGaussian& gaussian, std::span<const float> cos, std::span<const float> sin, bool interleaved);

// Undoes a turn of one query: what `cos` and `sin`, scaled or not, made of it.
void turn_back(std::span<float> query, std::span<const float> cos, std::span<const float> sin, bool interleaved);

// The logarithm of E[e^(scale q k)] for q of this Gaussian: scale mean k + scale^2 k covariance k / 2.
float expected_score(const QueryGaussian& gaussian, float scale, std::span<const float> key);

}  // namespace hunch
