#include "select/lsh_keys.h"

#include <algorithm>
#include <random>

#include "kernels/kv_rows.h"
#include "kernels/ops.h"
#include "kernels/shared_codes.h"
#include "select/attention_patterns.h"
#include "select/key_policy.h"

namespace hunch {
namespace {

constexpr uint8_t kNoKey = 0xff, kNoQuery = 0xfe;  // where there is no round: nothing is shared

// Appends, ascending, the n slots with the largest counts, of equals the last; none whose count is 0.
void append_most_shared(std::span<const uint16_t> counts, size_t n, std::vector<uint32_t>& slots) {
  std::vector<size_t> n_with(1 + (counts.empty() ? 0 : size_t(std::ranges::max(counts))));
  for (const uint16_t count : counts) ++n_with[count];
  size_t least = n_with.size();  // all with this many or more are taken ...
  while (least > 1 && n_with[least - 1] <= n) n -= n_with[--least];
  const size_t edge = least - 1;  // ... and the last n of these
  size_t n_skipped = edge == 0 ? n_with[0] : n_with[edge] - n;
  for (size_t j = 0; j < counts.size(); ++j) {
    if (counts[j] < edge || (counts[j] == edge && n_skipped > 0)) {
      n_skipped -= counts[j] == edge;
      continue;
    }
    slots.push_back(uint32_t(j));
  }
}

}  // namespace

LshState::LshState(const LshKeys& all)
    : ListedState(all.form().n_full),
      all_(all),
      n_codes_((all.options().n_rounds + kCodeBytes - 1) / kCodeBytes * kCodeBytes) {}

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

void LshState::hash(std::span<const float> x, uint8_t* to) const {
  const size_t half = all_.options().n_buckets / 2;
  const std::span<const float> R = directions_;
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

void LshState::look(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, size_t d_head) {
  constexpr size_t kTogether = 64;  // keys of a head
  directions(d_head);
  in_groups_ = queries.kv.groups.bits > 0;
  codes_.resize(place.n_layer);
  codes_[place.layer].resize(queries.kv.n_kv_head);
  const size_t n_keys = n_settled(queries);
  struct Part {
    size_t kv_head, first, n;
  };
  std::vector<Part> parts;
  for (size_t i = 0; i < queries.n_kv_heads(); ++i) {
    const size_t head = queries.all_heads ? i : queries.kv_heads[i];
    std::vector<uint8_t>& codes = codes_[place.layer][head];
    const size_t n_known = codes.size() / n_codes_;
    if (n_known >= n_keys) continue;
    codes.resize(n_keys * n_codes_, kNoKey);
    for (size_t j = n_known; j < n_keys; j += kTogether) parts.push_back({head, j, std::min(kTogether, n_keys - j)});
    compute.meter.read_kv((n_keys - n_known) * kv_row_bytes(queries.kv));
  }
  const auto hash_parts = [&](size_t begin, size_t end, size_t) {
    std::vector<float> keys(kTogether * d_head);
    for (size_t i = begin; i < end; ++i) {
      const Part& part = parts[i];
      const MatView<float> K(keys.data(), part.n, d_head);
      read_kv_rows(queries.kv, KvPart::kKeys, part.kv_head, part.first, K);
      uint8_t* const to = codes_[place.layer][part.kv_head].data() + part.first * n_codes_;
      for (size_t j = 0; j < part.n; ++j) hash(K.row(j), to + j * n_codes_);
    }
  };
  if (n_keys > kTogether && parts.size() > queries.n_kv_heads()) {
    compute.threads.parallel_for_dynamic(parts.size(), 1, hash_parts);
  } else {
    hash_parts(0, parts.size(), 0);
  }
}

size_t LshState::choose(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, MatView<const float> q,
                        std::vector<uint32_t>& slots) const {
  const LshOptions& o = all_.options();
  const size_t n_seen = query.first_pos + 1, n_old = std::min(n_seen - std::min(n_seen, o.recent), n_settled(query));
  if (n_seen <= o.budget) {
    append_range(0, n_seen, slots);
    return 0;
  }
  std::vector<uint8_t> own(q.rows * n_codes_, kNoQuery);
  for (size_t h = 0; h < q.rows; ++h) hash(q.row(h), own.data() + h * n_codes_);
  std::vector<uint16_t> counts(n_old);
  count_shared_codes(codes_[place.layer][kv_head], own, n_codes_, counts);
  const size_t n_always = n_seen - n_old + o.n_drawn;
  append_most_shared(counts, o.budget - std::min(o.budget, n_always), slots);
  append_range(n_old, n_seen, slots);
  return n_old * n_codes_;
}

double LshState::draw(const KeyPlace& place, const AttentionSpan& query, size_t kv_head,
                      std::span<const uint32_t> chosen, std::vector<uint32_t>& drawn) const {
  const LshOptions& o = all_.options();
  const size_t n_others = query.first_pos + 1 - chosen.size();
  // Numbers among the others become slots: as many further as chosen ones stand before them.
  append_random(random_state(o.seed, {place.layer, kv_head, query.first_pos}), 0, n_others, o.n_drawn, drawn);
  size_t n_passed = 0;
  for (uint32_t& slot : drawn) {
    slot += uint32_t(n_passed);
    for (; n_passed < chosen.size() && chosen[n_passed] <= slot; ++n_passed) ++slot;
  }
  return drawn.empty() ? 1 : double(n_others) / double(drawn.size());
}

void LshState::truncate(size_t n_tokens) {
  if (in_groups_) n_tokens -= n_tokens % kKvGroup;  // the rest of a group will be other codes
  const size_t n = n_tokens * n_codes_;
  for (auto& layer : codes_)
    for (std::vector<uint8_t>& codes : layer) codes.resize(std::min(codes.size(), n));
}

std::unique_ptr<SelectorState> LshKeys::new_state() const { return std::make_unique<LshState>(*this); }

}  // namespace hunch
