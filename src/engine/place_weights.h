// Weights on the NUMA nodes whose threads read them (docs/scale.md).
#pragma once
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "base/numa.h"
#include "model/model.h"

namespace hunch {

// Memory, and the node (of ThreadPlaces) that it is to be on; kAll: on all in turn, since any thread may read it.
struct PageHome {
  static constexpr size_t kAll = SIZE_MAX;
  std::span<const std::byte> bytes;
  size_t node;
};

// Of the matrices that a token multiplies: rows are divided among the threads as products divide them, those of
// matrices that are multiplied together one after the other. Experts, of which a step's own are taken as threads become
// free, lie on all.
std::vector<PageHome> page_homes(const ModelWeights& weights, const Plan& plan, const ThreadPlaces& places);

// What was put somewhere, so that it is done once. Any number of threads.
class PlacedPages {
 public:
  // How many of these were new.
  size_t place(std::span<const PageHome> homes, const ThreadPlaces& places);

 private:
  std::mutex mutex_;
  std::set<const std::byte*> begun_;  // where homes begin
};

}  // namespace hunch
