// Which neurons and groups of heads of a model go, by their scores: for structured pruning.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// What is computed or left out as a whole: a neuron of an MLP, or a key head with the query heads that share it.
enum class UnitKind : uint8_t { kGroup, kNeuron };

// Units of one kind of one layer.
struct UnitSet {
  size_t layer = 0;
  UnitKind kind = UnitKind::kNeuron;
  std::vector<double> scores;  // of each unit: the least go first
  uint64_t cost = 0;           // parameters of one
  size_t multiple = 1;         // the number that stays is one of these, or all
};

struct UnitBudget {
  double share = 0;      // of the sets' parameters that goes, 0 to less than 1
  bool uniform = false;  // the same share in every set; else the least scores of all sets together
};

// Of each set the units that stay, ascending; at least one (of `multiple`). The share that goes is the least that is no
// less than asked for, or with `uniform` the nearest that whole units allow. Ties: the unit of the later set, with the
// higher number, goes first. Throws Error{kUsage} where so much cannot go.
std::vector<std::vector<uint32_t>> choose_units(std::span<const UnitSet> sets, const UnitBudget& budget);

// Scores less their mean, divided by their standard deviation (all 0 where that is 0): how layers become comparable
// (An et al. 2023, arXiv:2312.11983, section 3.3).
void standardise(std::span<double> scores);

}  // namespace hunch
