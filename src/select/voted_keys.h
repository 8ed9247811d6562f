// What stays of a layer's keys by votes, once, when a prompt has ended.
#pragma once
#include <span>
#include <vector>

#include "kernels/attention.h"

namespace hunch {

// Fills `kept` [n_kv_head] with the first n_first slots of each head and those of the others with the most votes
// [n_kv_head, most slots], among equals the first: `budget` together on average over heads, of which every head has at
// least the share `floor` (PromptKeysOptions::floor); heads with no more slots keep all.
void keep_voted(const KvView& kv, MatView<const float> votes, size_t n_first, size_t budget, double floor,
                std::vector<Rows>& kept);

// Moves `kept` to `out`, or all slots where it is empty.
void hand_out(const KvView& kv, std::vector<Rows>& kept, std::span<Rows> out);

}  // namespace hunch
