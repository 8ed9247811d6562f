// How fast each rank is, and which layers it gets for that (Division::by_speed; "device_map auto" of Accelerate goes by
// memory alone).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// What a rank does with its threads.
struct RankSpeed {
  float bytes_per_s = 0;       // of reading: tokens one by one
  float operations_per_s = 0;  // of products of int8, a multiplication and an addition each: prompts
  float memory = 0;            // bytes that are free; 0: not known
};

// Of this process, with so many threads (0: one per core).
RankSpeed measure_rank_speed(size_t n_threads);

// Of a model's layer, on average.
struct LayerWork {
  uint64_t bytes = 0, weights = 0;
};
// Seconds that a rank of this speed spends on a layer for an answer of 128 tokens to a prompt of 512.
double layer_seconds(const RankSpeed& speed, const LayerWork& layer);

// Layers [n_ranks] for ranks of these speeds, one at least on each, so that the slowest rank takes least and each has
// the memory. Throws Error{kMemory} where all of them together have too little of it.
std::vector<uint32_t> layers_by_speed(std::span<const RankSpeed> speeds, size_t n_layer, const LayerWork& layer);

}  // namespace hunch
