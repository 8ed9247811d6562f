// Which token every slot of a sequence holds, by layer and head.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rows.h"

namespace hunch {

// Slot t holds token t until keep() drops some from a layer; from then on every head of that layer has a list, and each
// token that follows takes the next slot of each. Knows nothing of pages: KvCache keeps the two in step.
class SlotMap {
 public:
  SlotMap() = default;
  explicit SlotMap(std::vector<uint32_t> n_heads)  // [n_layer], 0 of layers that have no slots
      : n_heads_(std::move(n_heads)), n_headless_(size_t(std::ranges::count(n_heads_, 0u))) {}

  size_t n_tokens() const { return n_tokens_; }
  size_t n_fixed() const { return n_fixed_; }  // tokens when keep() was last called
  size_t n_slots(size_t layer, size_t head) const;
  size_t n_moved() const { return n_moved_; }  // by how much move_leading() last moved slots
  size_t most_slots() const;                   // of any layer and head
  // Of a token that the head has had since it last dropped one.
  size_t slot_of(size_t layer, size_t head, size_t token) const;
  // The tokens of each head's slots, ascending; empty where they are the slots' numbers.
  std::span<const std::vector<uint32_t>> positions(size_t layer) const;

  void append(size_t n);
  void truncate(size_t n_tokens);  // at least n_fixed(), or 0
  // One list per head, not all of them whole.
  void keep(size_t layer, std::span<const Rows> slots);
  // The first n slots of every head of a layer that dropped some now hold positions first, first + 1, ...
  void move_leading(size_t layer, size_t n, size_t first);

  // Calls with(n) for the numbers of slots that heads have; for equal ones once or more often.
  template <class With>
  void for_each_count(const With& with) const {
    // Where no layer has any, tokens are counted as if one had.
    if (n_moved_layers_ == 0 || n_moved_layers_ < n_heads_.size() - n_headless_) with(n_tokens_);
    for (const Layer& layer : layers_)
      for (const std::vector<uint32_t>& head : layer) with(head.size());
  }

 private:
  using Layer = std::vector<std::vector<uint32_t>>;  // [n_head][n_slots], or empty
  std::vector<uint32_t> n_heads_;                    // [n_layer]
  size_t n_headless_ = 0, n_tokens_ = 0, n_fixed_ = 0, n_moved_layers_ = 0, n_moved_ = 0;
  std::vector<Layer> layers_;  // [n_layer], or empty
};

}  // namespace hunch
