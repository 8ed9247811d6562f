#include "text/byte_trie.h"

#include <algorithm>
#include <deque>

namespace hunch {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries) : nodes_(1) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  // Breadth first: a node is a range of the sorted entries that share their first `depth` bytes.
  struct Range {
    uint32_t node;
    size_t begin, end, depth;
  };
  std::deque<Range> todo{{kRoot, 0, entries.size(), 0}};
  while (!todo.empty()) {
    const Range r = todo.front();
    todo.pop_front();
    size_t i = r.begin;
    while (i < r.end && entries[i].first.size() == r.depth) {
      if (r.depth > 0 && nodes_[r.node].value == kNoValue) nodes_[r.node].value = entries[i].second;
      ++i;
    }
    nodes_[r.node].first_child = static_cast<uint32_t>(nodes_.size());
    while (i < r.end) {
      const char label = entries[i].first[r.depth];
      size_t j = i;
      while (j < r.end && entries[j].first[r.depth] == label) ++j;
      todo.push_back({static_cast<uint32_t>(nodes_.size()), i, j, r.depth + 1});
      nodes_.emplace_back();
      nodes_.back().label = static_cast<uint8_t>(label);
      ++nodes_[r.node].n_children;
      i = j;
    }
  }
  for (uint32_t k = 1; k <= nodes_[kRoot].n_children; ++k) roots_[nodes_[k].label] = k;
}

}  // namespace hunch
