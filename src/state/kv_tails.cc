#include "state/kv_tails.h"

#include <algorithm>

namespace hunch {
namespace {

// The first group that is wanted where n tokens are there.
size_t first_wanted(size_t n_tokens) { return (n_tokens - std::min(n_tokens, KvTails::kKept)) / kKvGroup; }

}  // namespace

const f16* KvTails::find(size_t layer, size_t group) const {
  const auto found = std::ranges::find(layers_[layer], group, &Group::index);
  return found == layers_[layer].end() ? nullptr : found->values.data();
}

f16* KvTails::need(size_t layer, size_t group) {
  const auto found = std::ranges::find(layers_[layer], group, &Group::index);
  if (found != layers_[layer].end()) return found->values.data();
  layers_[layer].push_back({group, std::vector<f16>(2 * kKvGroup * n_values_[layer])});
  return layers_[layer].back().values.data();
}

template <class Stays>
void KvTails::keep(size_t layer, const Stays& stays) {
  std::erase_if(layers_[layer], [&](const Group& group) { return !stays(group.index); });
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
