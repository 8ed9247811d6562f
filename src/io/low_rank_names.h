// How a matrix W = U V of low rank lies in a file: instead of the tensor NAME.weight, two.
#pragma once
#include <string>

namespace hunch {

// [n_out, rank] and [rank, n_in]; of a layer's experts [n_expert, n_out, rank] and [n_expert, rank, n_in]. A bias stays
// NAME.bias.
inline std::string low_rank_u(const std::string& name) { return name + ".low_rank_u.weight"; }
inline std::string low_rank_v(const std::string& name) { return name + ".low_rank_v.weight"; }

// Metadata of a file that `hunch compress` wrote.
constexpr const char* kLowRankMethod = "hunch.low_rank.method";  // "svd-llm", "asvd" or "svd"
constexpr const char* kLowRankRatio = "hunch.low_rank.ratio";    // of each matrix' parameters that stay
constexpr const char* kLowRankText = "hunch.low_rank.text";      // name of the text that inputs were measured on
constexpr const char* kLowRankTokens = "hunch.low_rank.tokens";  // how many of its tokens

}  // namespace hunch
