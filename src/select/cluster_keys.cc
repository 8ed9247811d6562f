#include "select/cluster_keys.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/kv_rows.h"
#include "kernels/ops.h"
#include "select/key_policy.h"

namespace hunch {
namespace {

void make_direction(std::span<float> x) {
  if (const float length = std::sqrt(dot(x, x)); length > 0) scale(1 / length, x);
}

}  // namespace

void ClusterState::update(Compute& compute, const KvView& view, size_t kv_head, size_t n_tokens, Head& head) {
  if (head.n_known >= n_tokens) return;
  const size_t k = all_.options().n_clusters, d = view.d_head;
  const Arena::Scope scope(compute.arena);
  const MatView<float> key(compute.arena.take<float>(d).data(), 1, d);
  head.members.resize(k);
  compute.meter.read_kv((n_tokens - head.n_known) * kv_row_bytes(view));
  for (size_t j = head.n_known; j < n_tokens; ++j) {
    read_kv_rows(view, KvPart::kKeys, kv_head, j, key);
    make_direction(key.row(0));
    size_t best = head.sums.size() / d;
    if (best < k) {
      head.sums.resize(head.sums.size() + d);
    } else {
      float most = -INFINITY;
      for (size_t i = 0; i < k; ++i) {
        const std::span<const float> sum = std::span(head.sums).subspan(i * d, d);
        const float length = std::sqrt(dot(sum, sum)), along = length > 0 ? dot(sum, key.row(0)) / length : 0;
        if (i == 0 || along > most) best = i, most = along;
      }
    }
    add(key.row(0), std::span(head.sums).subspan(best * d, d));
    head.members[best].push_back(uint32_t(j));
  }
  head.n_known = n_tokens;
}

void ClusterState::choose(Compute& compute, const KeyPlace& place, const AttentionSpan& query, size_t kv_head,
                          MatView<const float> q, std::vector<uint32_t>& slots) {
  const ClusterOptions& o = all_.options();
  heads_.resize(place.n_layer);
  heads_[place.layer].resize(query.kv.n_kv_head);
  Head& head = heads_[place.layer][kv_head];
  const size_t n_seen = query.first_pos + 1, n_old = n_seen - std::min(n_seen, o.recent);
  const size_t n_joined = n_old / ClusterKeys::kBlock * ClusterKeys::kBlock;
  update(compute, query.kv, kv_head, n_joined, head);
  if (n_seen <= o.budget) return append_range(0, n_seen, slots);
  const Arena::Scope scope(compute.arena);
  const size_t d = query.kv.d_head, k = head.sums.size() / d;
  const std::span<float> score = compute.arena.take<float>(k);
  for (size_t i = 0; i < k; ++i) {
    const std::span<const float> sum = std::span(head.sums).subspan(i * d, d);
    score[i] = 0;
    for (size_t h = 0; h < q.rows; ++h) score[i] += dot(sum, q.row(h));
    score[i] /= std::sqrt(std::max(dot(sum, sum), 1e-30f));
  }
  compute.meter.read_kv(k * d * sizeof(float));
  const std::span<uint32_t> order = compute.arena.take<uint32_t>(k);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return score[a] > score[b]; });
  size_t n_left = o.budget - o.recent - std::min(o.budget - o.recent, n_old - n_joined);
  for (size_t i = 0; i < k && n_left > 0; ++i) {
    const std::vector<uint32_t>& members = head.members[order[i]];
    const size_t n = std::min(n_left, members.size());
    slots.insert(slots.end(), members.end() - ptrdiff_t(n), members.end());
    n_left -= n;
  }
  std::ranges::sort(slots);
  append_range(n_joined, n_seen, slots);
}

void ClusterState::truncate(size_t n_tokens) {
  for (auto& layer : heads_)
    for (Head& head : layer)
      if (head.n_known > n_tokens) head = {};
}

std::unique_ptr<SelectorState> ClusterKeys::new_state() const { return std::make_unique<ClusterState>(*this); }

}  // namespace hunch
