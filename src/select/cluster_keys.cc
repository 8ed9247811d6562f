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

void ClusterState::update(const KvView& view, size_t kv_head, size_t n_tokens, Head& head) const {
  const size_t k = all_.options().n_clusters, d = view.d_head;
  std::vector<float> row(d);
  const MatView<float> key(row.data(), 1, d);
  head.members.resize(k);
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

size_t ClusterState::n_old(const AttentionSpan& query) const {
  const size_t n_seen = query.first_pos + 1;
  return std::min(n_seen - std::min(n_seen, all_.options().recent), n_settled(query));
}

// A block joins when its last key does.
size_t ClusterState::n_alike(const AttentionSpan& query, size_t n) const {
  return std::min(n, ClusterKeys::kBlock - n_old(query) % ClusterKeys::kBlock);
}

void ClusterState::look(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, size_t d_head) {
  heads_.resize(place.n_layer);
  std::vector<Head>& heads = heads_[place.layer];
  heads.resize(queries.kv.n_kv_head);
  const size_t n_keys = n_joined(queries);
  size_t n_new = 0;
  for (size_t i = 0; i < queries.n_kv_heads(); ++i) {
    Head& head = heads[queries.all_heads ? i : queries.kv_heads[i]];
    if (head.n_known > n_keys) head = {};  // the text went back to where the last block had not joined
    n_new += n_keys - head.n_known;
  }
  if (n_new == 0) return;
  compute.meter.read_kv(n_new * kv_row_bytes(queries.kv));
  compute.threads.parallel_for_dynamic(queries.n_kv_heads(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      const size_t head = queries.all_heads ? i : queries.kv_heads[i];
      if (heads[head].n_known < n_keys) update(queries.kv, head, n_keys, heads[head]);
    }
  });
}

size_t ClusterState::choose(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, MatView<const float> q,
                            std::vector<uint32_t>& slots) const {
  const ClusterOptions& o = all_.options();
  const Head& head = heads_[place.layer][kv_head];
  const size_t n_seen = query.first_pos + 1, n_joined = this->n_joined(query);
  if (n_seen <= o.budget) {
    append_range(0, n_seen, slots);
    return 0;
  }
  const size_t d = query.kv.d_head, k = head.sums.size() / d;
  std::vector<float> score(k);
  for (size_t i = 0; i < k; ++i) {
    const std::span<const float> sum = std::span(head.sums).subspan(i * d, d);
    for (size_t h = 0; h < q.rows; ++h) score[i] += dot(sum, q.row(h));
    score[i] /= std::sqrt(std::max(dot(sum, sum), 1e-30f));
  }
  std::vector<uint32_t> order(k);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return score[a] > score[b]; });
  size_t n_left = o.budget - std::min(o.budget, n_seen - n_joined);
  for (size_t i = 0; i < k && n_left > 0; ++i) {
    const std::vector<uint32_t>& members = head.members[order[i]];
    const size_t n = std::min(n_left, members.size());
    slots.insert(slots.end(), members.end() - ptrdiff_t(n), members.end());
    n_left -= n;
  }
  std::ranges::sort(slots);
  append_range(n_joined, n_seen, slots);
  return k * d * sizeof(float);
}

void ClusterState::truncate(size_t n_tokens) {
  for (auto& layer : heads_)
    for (Head& head : layer)
      if (head.n_known > n_tokens) head = {};
}

std::unique_ptr<SelectorState> ClusterKeys::new_state() const { return std::make_unique<ClusterState>(*this); }

}  // namespace hunch
