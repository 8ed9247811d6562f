// A static set of byte strings with a value each, walked one byte at a time: finds the entries that
// begin at a place in a text. Immutable after construction.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hunch {

class ByteTrie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr int32_t kNoValue = -1;

  ByteTrie() : ByteTrie(std::vector<std::pair<std::string_view, int32_t>>()) {}
  // Values are >= 0. Of equal strings the first counts. Empty strings are left out.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  // The node reached from `node` by `byte`, or kRoot when there is none.
  uint32_t step(uint32_t node, uint8_t byte) const {
    if (node == kRoot) return roots_[byte];
    const Node& n = nodes_[node];
    for (uint32_t k = n.first_child; k < n.first_child + n.n_children; ++k) {
      if (nodes_[k].label >= byte) return nodes_[k].label == byte ? k : kRoot;
    }
    return kRoot;
  }
  // The value of the string that ends in `node`, or kNoValue.
  int32_t value(uint32_t node) const { return nodes_[node].value; }
  bool empty() const { return nodes_.size() == 1; }

 private:
  struct Node {
    uint32_t first_child = 0;
    uint16_t n_children = 0;
    uint8_t label = 0;
    int32_t value = kNoValue;
  };
  std::vector<Node> nodes_;            // children of one node lie together, by label
  std::array<uint32_t, 256> roots_{};  // the root's children by byte
};

}  // namespace hunch
