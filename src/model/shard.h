// How a model's matrices are divided among ranks (Shoeybi et al. 2019, "Megatron-LM", arXiv:1909.08053, section 3):
// heads and neurons, so that a rank's part of attention, and of the MLP, is attention and an MLP of fewer of them, and
// what the parts give is added up once for each; words of the output's vocabulary.
#pragma once
#include <cstddef>
#include <vector>

#include "model/config.h"

namespace hunch {

// Which of n ranks.
struct Shard {
  size_t rank = 0, n = 1;
  bool is_whole() const { return n == 1; }
};

// Or by layers: each rank has some of them whole, and gives what leaves them to the next (Huang et al. 2019, "GPipe",
// arXiv:1811.06965).
struct Division {
  bool by_layers = false;
  bool by_speed = false;                // who opens the model fills n_layers
  bool by_share = false;                // of tensors: every rank chooses as many neurons (Sidecar::by_share)
  bool rounds_sums = false;             // of tensors: to int8, on their way (parallel/rounded_sums.h)
  std::vector<uint32_t> n_layers = {};  // [n_ranks], of the whole model's, in turn; empty: even
};

struct Range {
  size_t begin = 0, n = 0;
  bool operator==(const Range&) const = default;
};

// The same of things that each have `width` others.
inline Range times(Range range, size_t width) { return {range.begin * width, range.n * width}; }

// Leaves this part of the values, of an empty vector nothing.
template <class T>
void keep_part(std::vector<T>& values, Range part) {
  if (values.empty()) return;
  values.erase(values.begin() + ptrdiff_t(part.begin + part.n), values.end());
  values.erase(values.begin(), values.begin() + ptrdiff_t(part.begin));
}

// The rank's part of n things that only come apart between units of `unit`: as even as that allows, those with more
// first.
Range share_of(size_t n, size_t unit, Shard shard);

// A layer's.
struct LayerCut {
  bool mixer = false, mlp = false;  // whether these are divided; else every rank computes all of it
  Range heads, kv_heads;            // where the mixer is
};

// Divides what can be: attention with keys and values of its own heads, MLPs whose neurons know nothing of each other.
// Where ranks outnumber key heads, several have the same one. Throws Error{kUnsupported} naming the layer where heads
// do not go among so many ranks.
LayerCut cut_of(const LayerConfig& layer, Shard shard);

// The units between which neurons come apart: blocks of the down projections' format, `block` elements, and more where
// they are many.
size_t neuron_unit(size_t n_ff, size_t block, Shard shard);

// What the rank's blocks are to believe. `unit`: of neurons.
LayerConfig part_of(const LayerConfig& layer, const LayerCut& cut, size_t block, Shard shard);

// The rank's layers where these are divided. Throws Error{kUsage} where the division has other ranks or layers,
// Error{kUnsupported} where one would read the keys of a layer that is elsewhere.
Range layers_of(const ModelConfig& config, const Division& division, Shard shard);

// Throws Error{kUnsupported} for a model of a kind that is not divided.
void check_divisible(const ModelConfig& config);

}  // namespace hunch
