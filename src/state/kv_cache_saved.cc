// What is saved of a KvCache's sequence, as bytes.
#include <cstring>

#include "base/error.h"
#include "state/kv_cache_impl.h"

namespace hunch {

bool KvCache::can_save(SequenceId id) const {
  if (impl_->is_elsewhere() || has_journal() || impl_->shape.type.grouped() || n_fixed(id) > 0 ||
      (is_recurrent() && impl_->states.points(id).empty()))
    return false;
  for (size_t layer = 0; layer < impl_->layers.size(); ++layer)
    for (size_t head = 0; head < impl_->layers[layer].n_head; ++head)
      if (n_complete(id, layer, head) < n_tokens(id)) return false;
  return true;
}

size_t KvCache::saved_bytes(const KvShape& shape, size_t n_tokens, size_t n_points) {
  const size_t keys = n_tokens * bytes_per_token(shape);
  if (shape.recurrent.empty()) return keys;
  return keys + sizeof(uint64_t) * (1 + n_points) +
         sizeof(float) * n_points * RecurrentStates::floats_per_point(shape.recurrent);
}

std::vector<std::byte> KvCache::save(SequenceId id, size_t n_tokens) const {
  HUNCH_CHECK(can_save(id) && n_tokens <= this->n_tokens(id) && (!is_recurrent() || n_tokens == this->n_tokens(id)),
              "save {} of {} tokens", n_tokens, this->n_tokens(id));
  std::vector<uint64_t> points = {0};
  if (is_recurrent())
    for (const size_t point : impl_->states.points(id)) points.push_back(point), ++points[0];
  std::vector<std::byte> bytes(saved_bytes(shape(), n_tokens, points[0]));
  std::byte* to = bytes.data();
  const auto add = [&](const void* from, size_t n) {
    std::memcpy(to, from, n);
    to += n;
  };
  impl_->for_each_stretch(impl_->at(id), n_tokens, [&](std::byte* stored, size_t n) { add(stored, n); });
  if (!is_recurrent()) return bytes;
  add(points.data(), points.size() * sizeof(uint64_t));
  const std::vector<float> states = impl_->states.save(id);
  add(states.data(), states.size() * sizeof(float));
  return bytes;
}

std::optional<std::vector<size_t>> KvCache::saved_points(const KvShape& shape, size_t n_tokens,
                                                         std::span<const std::byte> bytes) {
  const size_t n_keys = n_tokens * bytes_per_token(shape);
  if (shape.recurrent.empty()) return bytes.size() == n_keys ? std::optional(std::vector<size_t>()) : std::nullopt;
  if (bytes.size() < n_keys + sizeof(uint64_t)) return std::nullopt;
  std::span<const std::byte> rest = bytes.subspan(n_keys);
  const auto next = [&] {
    uint64_t value = 0;
    std::memcpy(&value, rest.data(), sizeof value);
    rest = rest.subspan(sizeof value);
    return value;
  };
  const uint64_t n = next();
  if (n == 0 || n > RecurrentStates::kMostCheckpoints + 1 || bytes.size() != saved_bytes(shape, n_tokens, n))
    return std::nullopt;
  std::vector<size_t> points;
  for (uint64_t i = 0; i < n; ++i) {
    points.push_back(next());
    if (points.back() > n_tokens || points.back() == 0 || (i > 0 && points[i - 1] >= points[i])) return std::nullopt;
  }
  return points;
}

void KvCache::load(SequenceId id, size_t n_tokens, std::span<const std::byte> bytes) {
  HUNCH_CHECK(!has_journal(), "keys of one cache of several");
  const auto points = saved_points(shape(), n_tokens, bytes);
  HUNCH_CHECK(this->n_tokens(id) == 0 && points && !impl_->is_elsewhere(), "{} bytes of {} tokens", bytes.size(),
              n_tokens);
  append(id, n_tokens);
  const std::byte* from = bytes.data();
  impl_->for_each_stretch(impl_->at(id), n_tokens, [&](std::byte* stored, size_t n) {
    std::memcpy(stored, from, n);
    from += n;
  });
  if (!is_recurrent()) return;
  from += sizeof(uint64_t) * (1 + points->size());
  std::vector<float> states(points->size() * RecurrentStates::floats_per_point(shape().recurrent));
  std::memcpy(states.data(), from, states.size() * sizeof(float));
  impl_->states.truncate(id, 0);
  impl_->states.load(id, *points, states);
  truncate(id, points->back());
}

}  // namespace hunch
