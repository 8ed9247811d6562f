// Attention weights written out, for a short excerpt, and what a head does with them. The forward pass never
// makes this matrix; it is computed again from queries and keys where a report asks for it.
#pragma once
#include <cstdint>
#include <vector>

#include "base/view.h"
#include "model/config.h"

namespace hunch {

// The softmax weights of one head over the first tokens of a sequence, as attention() uses them: scale, soft cap,
// ALiBi, sliding window, causal.
//
//   q  [n, n_head * d_head], k [n, n_kv_head * d_head]  as Observer::on_attention shows them
//
// Returns P [n, n] row-major: row = query, column = key; rows sum to 1, 0 where the query does not see the key.
std::vector<float> attention_weights(const LayerConfig& config, size_t head, MatView<const float> q,
                                     MatView<const float> k);

// How one head spreads its attention. The first quarter of the queries sees few keys and is left out.
// Liu et al. 2023, "Deja Vu", section 3.1 tells heads with heavy hitters from uniform ("mixing") ones.
struct HeadHabit {
  double entropy = 0;         // of the weights / log(keys seen), mean over queries: 1 = uniform, 0 = one key
  double to_first = 0;        // mean weight on the first token ("attention sink")
  double to_previous = 0;     // mean weight on the token just before
  double heaviest = 0;        // largest mean weight that a token, not the first, receives from the tokens after it
  uint32_t heaviest_key = 0;  // that token
};
HeadHabit head_habit(const std::vector<float>& P, size_t n);

enum class HeadKind : uint8_t { kUniform, kHeavyHitter, kSink, kPrevious, kMixed };
// The first that holds: entropy >= 0.9 uniform; at least half of the weight on the first token: sink; on the token
// before: previous; a token that receives at least a quarter of what comes after it: heavy hitter; else mixed.
HeadKind kind_of(const HeadHabit& habit);
const char* name_of(HeadKind kind);

// The keys, at most `n_most`, heaviest first, that receive from the queries after them a mean weight of at least
// 0.1 and of three times what they would get if the weights were uniform (Zhang et al. 2023, "H2O").
std::vector<uint32_t> heavy_hitters(const std::vector<float>& P, size_t n, size_t n_most = 4);

}  // namespace hunch
