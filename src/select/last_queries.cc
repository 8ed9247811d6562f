#include "select/last_queries.h"

#include <algorithm>

namespace hunch {

LayerQueries& LastQueries::see(const KeyPlace& place, const QueriesSeen& seen) {
  layers_.resize(place.n_layer);
  LayerQueries& layer = layers_[place.layer];
  if (layer.end() != seen.first_position) layer.rows.clear(), layer.n_gone = 0;  // others came between
  layer.first_position = seen.first_position + seen.Q.rows;
  layer.width = seen.Q.cols;
  for (size_t t = 0; t < seen.Q.rows; ++t)
    layer.rows.insert(layer.rows.end(), seen.Q.row(t).begin(), seen.Q.row(t).end());
  const size_t n = std::min(layer.n(), most_);
  layer.n_gone += layer.n() - n;
  layer.first_position -= n;
  if (layer.n_gone > most_) {  // not for every token: the others move
    layer.rows.erase(layer.rows.begin(), layer.rows.begin() + ptrdiff_t(layer.n_gone * layer.width));
    layer.n_gone = 0;
  }
  layer.n_head = seen.n_head;
  layer.params = seen.params;
  layer.waits = layer.waits || seen.is_prompt;
  return layer;
}

LayerQueries* LastQueries::take(size_t layer) {
  if (layer >= layers_.size() || !layers_[layer].waits) return nullptr;
  layers_[layer].waits = false;
  return &layers_[layer];
}

void LastQueries::truncate(size_t n_tokens) {
  for (LayerQueries& layer : layers_) {
    if (layer.end() <= n_tokens) continue;
    const size_t n = n_tokens - std::min(n_tokens, layer.first_position);
    layer.rows.resize((layer.n_gone + n) * layer.width);
    if (n == 0) layer.first_position = n_tokens;
    layer.waits = layer.waits && n_tokens > 0;
  }
}

}  // namespace hunch
