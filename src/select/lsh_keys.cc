#include "select/lsh_keys.h"

#include <algorithm>
#include <random>

#include "kernels/kv_rows.h"
#include "kernels/ops.h"
#include "select/key_policy.h"

namespace hunch {

std::span<const float> LshState::directions(size_t d) {
  const LshOptions& o = all_.options();
  const size_t n = o.n_rounds * (o.n_buckets / 2) * d;
  if (directions_.size() != n) {
    std::mt19937_64 rng(o.seed);
    // Of sums of uniform numbers, whose bits do not depend on the library: only the direction counts.
    const auto number = [&] { return float(double(rng() >> 11) * 0x1p-53); };
    directions_.resize(n);
    for (float& x : directions_) {
      x = -6;
      for (int i = 0; i < 12; ++i) x += number();
    }
  }
  return directions_;
}

void LshState::hash(std::span<const float> x, uint8_t* to) {
  const size_t half = all_.options().n_buckets / 2;
  const std::span<const float> R = directions(x.size());
  for (size_t round = 0; round < all_.options().n_rounds; ++round) {
    float best = -1;
    for (size_t i = 0; i < half; ++i) {
      const float along = dot(R.subspan((round * half + i) * x.size(), x.size()), x);
      if (std::abs(along) <= best) continue;
      best = std::abs(along);
      to[round] = uint8_t(along >= 0 ? i : half + i);
    }
  }
}

void LshState::update(Compute& compute, const KvView& view, size_t kv_head, size_t n_tokens,
                      std::vector<uint8_t>& codes) {
  const size_t n_rounds = all_.options().n_rounds, n_known = codes.size() / n_rounds;
  if (n_known >= n_tokens) return;
  const Arena::Scope scope(compute.arena);
  const MatView<float> key(compute.arena.take<float>(view.d_head).data(), 1, view.d_head);
  codes.resize(n_tokens * n_rounds);
  for (size_t j = n_known; j < n_tokens; ++j) {
    read_kv_rows(view, KvPart::kKeys, kv_head, j, key);
    hash(key.row(0), codes.data() + j * n_rounds);
  }
  compute.meter.read_kv((n_tokens - n_known) * kv_row_bytes(view));
}

void LshState::choose(Compute& compute, const KeyPlace& place, const AttentionSpan& query, size_t kv_head,
                      MatView<const float> q, std::vector<uint32_t>& slots) {
  const LshOptions& o = all_.options();
  codes_.resize(place.n_layer);
  codes_[place.layer].resize(query.kv.n_kv_head);
  std::vector<uint8_t>& codes = codes_[place.layer][kv_head];
  const size_t n_seen = query.first_pos + 1, n_old = n_seen - std::min(n_seen, o.recent);
  update(compute, query.kv, kv_head, n_seen, codes);
  if (n_seen <= o.budget) return append_range(0, n_seen, slots);
  score_.assign(n_old, 0.0f);
  const Arena::Scope scope(compute.arena);
  const std::span<uint8_t> own = compute.arena.take<uint8_t>(o.n_rounds);
  for (size_t h = 0; h < q.rows; ++h) {
    hash(q.row(h), own.data());
    for (size_t j = 0; j < n_old; ++j)
      for (size_t round = 0; round < o.n_rounds; ++round)
        score_[j] += float(codes[j * o.n_rounds + round] == own[round]);
  }
  compute.meter.read_kv(n_old * o.n_rounds);
  // Counts are whole numbers: what is added tells equals apart, and never more.
  for (size_t j = 0; j < n_old; ++j)
    if (score_[j] > 0) score_[j] += float(j) / float(2 * n_old);
  append_heaviest(score_, 0, n_old, o.budget - o.recent, slots);
  std::erase_if(slots, [&](uint32_t j) { return score_[j] == 0; });
  append_range(n_old, n_seen, slots);
}

void LshState::truncate(size_t n_tokens) {
  const size_t n = n_tokens * all_.options().n_rounds;
  for (auto& layer : codes_)
    for (std::vector<uint8_t>& codes : layer) codes.resize(std::min(codes.size(), n));
}

std::unique_ptr<SelectorState> LshKeys::new_state() const { return std::make_unique<LshState>(*this); }

}  // namespace hunch
