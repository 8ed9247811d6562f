#include "state/slot_map.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hunch {

std::span<const std::vector<uint32_t>> SlotMap::positions(size_t layer) const {
  return layers_.empty() ? std::span<const std::vector<uint32_t>>() : layers_[layer];
}

size_t SlotMap::n_slots(size_t layer, size_t head) const {
  const auto lists = positions(layer);
  return lists.empty() ? n_tokens_ : lists[head].size();
}

size_t SlotMap::most_slots() const {
  size_t most = 0;
  for_each_count([&](size_t n) { most = std::max(most, n); });
  return most;
}

size_t SlotMap::slot_of(size_t layer, size_t head, size_t token) const {
  const auto lists = positions(layer);
  if (lists.empty()) return token;
  const std::vector<uint32_t>& tokens = lists[head];
  const size_t from_end = n_tokens_ - token;
  HUNCH_CHECK(from_end <= tokens.size() && tokens[tokens.size() - from_end] == token,
              "token {} of layer {}, head {} was dropped or moved", token, layer, head);
  return tokens.size() - from_end;
}

void SlotMap::append(size_t n) {
  for (Layer& layer : layers_)
    for (std::vector<uint32_t>& head : layer)
      for (size_t i = 0; i < n; ++i) head.push_back(uint32_t(n_tokens_ + i));
  n_tokens_ += n;
}

void SlotMap::truncate(size_t n_tokens) {
  HUNCH_CHECK(n_tokens == 0 || n_tokens >= n_fixed_, "truncate to {} tokens, but some were dropped at {}", n_tokens,
              n_fixed_);
  if (n_tokens == 0) {
    *this = SlotMap(std::move(n_heads_));
    return;
  }
  for (Layer& layer : layers_)
    for (std::vector<uint32_t>& head : layer) head.resize(head.size() - (n_tokens_ - n_tokens));
  n_tokens_ = n_tokens;
}

void SlotMap::keep(size_t layer, std::span<const Rows> slots) {
  layers_.resize(n_heads_.size());
  Layer& lists = layers_[layer];
  if (lists.empty()) {
    std::vector<uint32_t> all(n_tokens_);
    std::iota(all.begin(), all.end(), 0u);
    lists.assign(n_heads_[layer], all);
    ++n_moved_layers_;
  }
  for (size_t head = 0; head < lists.size(); ++head) {
    if (slots[head].is_all()) continue;
    const std::span<const uint32_t> ids = slots[head].ids();
    for (size_t i = 0; i < ids.size(); ++i) lists[head][i] = lists[head][ids[i]];
    lists[head].resize(ids.size());
  }
  n_fixed_ = n_tokens_;
}

void SlotMap::move_leading(size_t layer, size_t n, size_t first) {
  HUNCH_CHECK(layer < layers_.size() && !layers_[layer].empty(), "layer {} never dropped a token", layer);
  for (std::vector<uint32_t>& head : layers_[layer])
    for (size_t i = 0; i < std::min(n, head.size()); ++i) head[i] = uint32_t(first + i);
  n_moved_ = first;
}

}  // namespace hunch
