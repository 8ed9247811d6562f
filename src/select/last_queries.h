// A text's last queries, layer by layer, for who chooses keys when a prompt ends.
#pragma once
#include <vector>

#include "select/key_selector.h"

namespace hunch {

// Of one layer.
struct LayerQueries {
  std::vector<float> rows;  // [n_gone + n, width] the text's last ones, after some that no longer are
  size_t n_gone = 0, width = 0, first_position = 0, n_head = 0;
  AttentionParams params;
  bool waits = false;  // a prompt was read, and nobody chose since

  size_t n() const { return width ? rows.size() / width - n_gone : 0; }
  size_t end() const { return first_position + n(); }
  MatView<const float> view() const { return {rows.data() + n_gone * width, n(), width}; }
  std::span<float> row(size_t i) { return std::span(rows).subspan((n_gone + i) * width, width); }
};

class LastQueries {
 public:
  // Of every layer the last `most`.
  explicit LastQueries(size_t most) : most_(most) {}

  size_t most() const { return most_; }
  // As KeyState::see(). Returns the layer, whose newest queries are now `seen`'s.
  LayerQueries& see(const KeyPlace& place, const QueriesSeen& seen);
  // The layer's, where a prompt was read and this was not asked since; else nullptr.
  LayerQueries* take(size_t layer);
  void truncate(size_t n_tokens);

 private:
  size_t most_;
  std::vector<LayerQueries> layers_;  // [n_layer]
};

}  // namespace hunch
