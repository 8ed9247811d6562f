#include "state/kv_tails.h"

#include <algorithm>

namespace hunch {
namespace {

// The first group that is wanted where n tokens are there.
size_t first_wanted(size_t n_tokens) { return (n_tokens - std::min(n_tokens, KvTails::kKept)) / kKvGroup; }

}  // namespace

KvTails::KvTails(std::vector<size_t> n_values) : layers_(n_values.size()), n_values_(std::move(n_values)) {
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    if (n_values_[layer] == 0) continue;
    layers_[layer].reserve(kGroups);
    for (size_t i = 0; i < kGroups; ++i) spare_.emplace_back(2 * kKvGroup * std::ranges::max(n_values_));
  }
}

const f16* KvTails::find(size_t layer, size_t group) const {
  const auto found = std::ranges::find(layers_[layer], group, &Group::index);
  return found == layers_[layer].end() ? nullptr : found->values.data();
}

f16* KvTails::need(size_t layer, size_t group) {
  const auto found = std::ranges::find(layers_[layer], group, &Group::index);
  if (found != layers_[layer].end()) return found->values.data();
  if (spare_.empty()) spare_.emplace_back(2 * kKvGroup * std::ranges::max(n_values_));
  layers_[layer].push_back({group, std::move(spare_.back())});
  spare_.pop_back();
  return layers_[layer].back().values.data();
}

template <class Stays>
void KvTails::keep(size_t layer, const Stays& stays) {
  std::erase_if(layers_[layer], [&](Group& group) {
    if (stays(group.index)) return false;
    spare_.push_back(std::move(group.values));
    return true;
  });
}

void KvTails::begin(size_t n_tokens) {
  n_begun_ = n_tokens;
  for (size_t layer = 0; layer < layers_.size(); ++layer)
    keep(layer, [&](size_t group) { return group >= first_wanted(n_tokens); });
}

void KvTails::settle(size_t layer, size_t n_tokens) {
  const size_t first = first_wanted(n_tokens), begun = n_begun_ / kKvGroup;
  keep(layer, [&](size_t group) { return group >= first || (group >= first_wanted(n_begun_) && group <= begun); });
}

void KvTails::truncate(size_t n_tokens) {
  for (size_t layer = 0; layer < layers_.size(); ++layer)
    keep(layer, [&](size_t group) { return group * kKvGroup < n_tokens; });
  n_begun_ = std::min(n_begun_, n_tokens);
}

bool KvTails::has(size_t n_tokens) const {
  for (size_t layer = 0; layer < layers_.size(); ++layer)
    if (n_values_[layer] > 0 && !find(layer, n_tokens / kKvGroup)) return false;
  return true;
}

}  // namespace hunch
