#include "state/deferred_inputs.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"

namespace hunch {

void DeferredInputs::keep(size_t layer, size_t token, std::span<const float> x) {
  Layer& l = layers_[layer];
  if (l.complete.empty()) {
    l.complete.assign(n_heads_[layer], token);
    l.n_in = x.size();
    l.inputs.resize(kCapacity * l.n_in);
  }
  HUNCH_CHECK(x.size() == l.n_in && std::ranges::min(l.complete) + kCapacity > token,
              "token {} while a head has only {}", token, std::ranges::min(l.complete));
  std::ranges::copy(x, &l.inputs[token % kCapacity * l.n_in]);
}

std::span<const float> DeferredInputs::input(size_t layer, size_t token) const {
  const Layer& l = layers_[layer];
  return std::span(l.inputs).subspan(token % kCapacity * l.n_in, l.n_in);
}

size_t DeferredInputs::n_complete(size_t layer, size_t head) const {
  const Layer& l = layers_[layer];
  return l.complete.empty() ? SIZE_MAX : l.complete[head];
}

void DeferredInputs::complete(size_t layer, size_t head, size_t first, size_t end) {
  Layer& l = layers_[layer];
  if (l.complete.empty()) return;
  HUNCH_CHECK(first <= l.complete[head], "keys of tokens {} to {} are missing", l.complete[head], first);
  l.complete[head] = std::max(l.complete[head], end);
}

size_t DeferredInputs::n_complete() const {
  size_t least = SIZE_MAX;
  for (const Layer& l : layers_)
    for (size_t n : l.complete) least = std::min(least, n);
  return least;
}

void DeferredInputs::truncate(size_t n_tokens) {
  for (Layer& l : layers_)
    for (size_t& n : l.complete) n = std::min(n, n_tokens);
}

}  // namespace hunch
