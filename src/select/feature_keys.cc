#include "select/feature_keys.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "kernels/attention_merge.h"
#include "kernels/kv_rows.h"
#include "kernels/ops.h"

namespace hunch {

std::vector<float> orthogonal_directions(size_t n, size_t d, uint64_t seed) {
  std::mt19937_64 rng(seed);
  const auto normal = [&] {  // the sum of twelve, so that the bits do not depend on the library
    double x = -6;
    for (int i = 0; i < 12; ++i) x += double(rng() >> 11) * 0x1p-53;
    return x;
  };
  std::vector<float> rows(n * d);
  std::vector<double> block(d * d), length(d);
  for (size_t first = 0; first < n; first += d) {
    for (size_t i = 0; i < d; ++i) {
      double* const x = block.data() + i * d;
      double squares = 0;
      for (size_t a = 0; a < d; ++a) x[a] = normal(), squares += x[a] * x[a];
      length[i] = std::sqrt(squares);
      for (size_t j = 0; j < i; ++j) {  // Gram and Schmidt
        double along = 0;
        for (size_t a = 0; a < d; ++a) along += x[a] * block[j * d + a];
        for (size_t a = 0; a < d; ++a) x[a] -= along * block[j * d + a];
      }
      squares = 0;
      for (size_t a = 0; a < d; ++a) squares += x[a] * x[a];
      for (size_t a = 0; a < d; ++a) x[a] /= std::sqrt(squares);
    }
    for (size_t i = 0; i < std::min(d, n - first); ++i)
      for (size_t a = 0; a < d; ++a) rows[(first + i) * d + a] = float(block[i * d + a] * length[i]);
  }
  return rows;
}

class FeatureKeys::State final : public KeyState {
 public:
  explicit State(const FeatureKeys& all) : all_(all) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    for (size_t head = 0; head < out.size(); ++head) out[head].refill_all(place.view.n_slots(head));
  }

  PageReads attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q,
                   size_t n_head, const AttentionParams& params, MatView<float> out) override {
    const size_t n_seen = query.first_pos + 1, recent = all_.options_.recent;
    // Keys that are in sums; those after them are weighed one by one.
    const size_t n_summed = (n_seen - std::min(n_seen, recent)) / kBlock * kBlock;
    if (place.layer < all_.form_.n_full || params.window > 0 || (is_exact() && n_summed == 0)) {
      attention(compute, Q, n_head, {&query, 1}, params, out);
      return {};
    }
    if (!params.alibi_slopes.empty() || params.soft_cap > 0 || !params.sinks.empty())
      fail(ErrorKind::kUnsupported,
           "the key policy (kv_policy) '{}' sums keys up, of which ALiBi, soft caps and sinks make something else for "
           "every query: it does not apply to this model",
           all_.kind_);
    prepare(query.kv.d_head);
    layers_.resize(place.n_layer);
    layers_[place.layer].resize(query.kv.n_kv_head);
    const Arena::Scope scope(compute.arena);
    const size_t d = query.kv.d_head, group = n_head / query.kv.n_kv_head;
    // Of the positive features the recent keys' part is the model's own attention.
    MatView<float> stats;
    if (is_exact()) {
      AttentionSpan own = query;
      stats =
          own.stats = {compute.arena.take<float>(2 * query.n_kv_heads() * group).data(), 2, query.n_kv_heads() * group};
      AttentionParams windowed = params;
      windowed.window = n_seen - n_summed;
      attention(compute, Q, n_head, {&own, 1}, windowed, out);
    }
    for (size_t i = 0; i < query.n_kv_heads(); ++i) {
      const size_t head = query.all_heads ? i : query.kv_heads[i];
      const Sums& sums = update(compute, query.kv, head, n_summed, place.layer, params.scale);
      for (size_t g = 0; g < group; ++g) {
        const std::span<const float> q = Q.row(query.first_token).subspan((head * group + g) * d, d);
        const std::span<float> to = out.row(query.first_token).subspan((head * group + g) * d, d);
        if (is_exact()) {
          far(compute, sums, q, params.scale, to, stats.row(0)[i * group + g], stats.row(1)[i * group + g]);
        } else {
          linear(compute, sums, query.kv, head, n_summed, n_seen, q, to);
        }
      }
    }
    PageReads reads;
    reads.n_keys = (n_seen - n_summed) * query.n_kv_heads();
    return reads;
  }

  void truncate(size_t n_tokens) override {
    for (auto& layer : layers_)
      for (Head& head : layer) {
        if (head.now.n_tokens <= n_tokens) continue;
        head.now = head.before.n_tokens <= n_tokens ? head.before : Sums();
      }
  }

 private:
  // Of keys 0 to n_tokens - 1: sums times e^-offset of f(k_j) v_j, [n_features, d], and of f(k_j).
  struct Sums {
    std::vector<float> values, keys;
    float offset = -INFINITY;
    size_t n_tokens = 0;
  };
  struct Head {
    Sums now, before;
  };

  bool is_exact() const { return all_.options_.n_features > 0; }

  void prepare(size_t d) {
    n_features_ = is_exact() ? all_.options_.n_features : d;
    if (is_exact() && directions_.size() != n_features_ * d)
      directions_ = orthogonal_directions(n_features_, d, all_.options_.seed);
    feature_.resize(n_features_);
  }

  // f(x) times e^-(what is returned): of the positive features e^(w_i.x - |x|^2 / 2), x times the root of the scale.
  float map(std::span<const float> x, float scale_of_scores) {
    if (!is_exact()) {
      for (size_t i = 0; i < x.size(); ++i) feature_[i] = x[i] > 0 ? x[i] + 1 : std::exp(x[i]);
      return 0;
    }
    const float root = std::sqrt(scale_of_scores), half = dot(x, x) * scale_of_scores / 2;
    float most = -INFINITY;
    for (size_t i = 0; i < n_features_; ++i) {
      feature_[i] = dot(std::span(directions_).subspan(i * x.size(), x.size()), x) * root;
      most = std::max(most, feature_[i]);
    }
    for (float& f : feature_) f = std::exp(f - most);
    return most - half;
  }

  const Sums& update(Compute& compute, const KvView& view, size_t kv_head, size_t n_tokens, size_t layer,
                     float scale_of_scores) {
    Head& head = layers_[layer][kv_head];
    const size_t d = view.d_head, n_before = head.now.n_tokens;
    const Arena::Scope scope(compute.arena);
    const MatView<float> key(compute.arena.take<float>(d).data(), 1, d);
    const MatView<float> value(compute.arena.take<float>(d).data(), 1, d);
    while (head.now.n_tokens < n_tokens) {
      head.before = head.now;
      Sums& now = head.now;
      now.values.resize(n_features_ * d);
      now.keys.resize(n_features_);
      for (size_t end = now.n_tokens + kBlock; now.n_tokens < end; ++now.n_tokens) {
        read_kv_rows(view, KvPart::kKeys, kv_head, now.n_tokens, key);
        read_kv_rows(view, KvPart::kValues, kv_head, now.n_tokens, value);
        const float offset = map(key.row(0), scale_of_scores);
        if (offset > now.offset) {
          const float less = now.offset == -INFINITY ? 0.0f : std::exp(now.offset - offset);
          scale(less, now.values);
          scale(less, now.keys);
          now.offset = offset;
        }
        const float weight = std::exp(offset - now.offset);
        for (size_t i = 0; i < n_features_; ++i) {
          now.keys[i] += weight * feature_[i];
          axpy(weight * feature_[i], value.row(0), std::span(now.values).subspan(i * d, d));
        }
      }
    }
    compute.meter.read_kv(2 * (n_tokens - std::min(n_tokens, n_before)) * kv_row_bytes(view));
    return head.now;
  }

  // What the sums weigh joins what was summed exactly.
  void far(Compute& compute, const Sums& sums, std::span<const float> q, float scale_of_scores, std::span<float> to,
           float& max, float& sum) {
    const Arena::Scope scope(compute.arena);
    const std::span<float> mix = compute.arena.take<float>(to.size());
    const float offset = map(q, scale_of_scores) + sums.offset - std::log(float(n_features_));
    const float total = dot(feature_, sums.keys);
    std::ranges::fill(mix, 0.0f);
    for (size_t i = 0; i < n_features_; ++i)
      axpy(feature_[i], std::span(sums.values).subspan(i * to.size(), to.size()), mix);
    if (total > 0) scale(1 / total, mix);
    compute.meter.read_kv((n_features_ + sums.values.size()) * sizeof(float));
    merge_attention(mix, offset, total, to, max, sum);
  }

  // All keys by elu + 1, those after the sums one by one.
  void linear(Compute& compute, const Sums& sums, const KvView& view, size_t kv_head, size_t first, size_t end,
              std::span<const float> q, std::span<float> to) {
    const Arena::Scope scope(compute.arena);
    const size_t d = view.d_head;
    const MatView<float> row(compute.arena.take<float>(d).data(), 1, d);
    const std::span<float> of_query = compute.arena.take<float>(d);
    map(q, 1);
    std::ranges::copy(feature_, of_query.begin());
    std::ranges::fill(to, 0.0f);
    float total = 0;
    if (!sums.keys.empty()) {
      total = dot(of_query, sums.keys);
      for (size_t i = 0; i < d; ++i) axpy(of_query[i], std::span(sums.values).subspan(i * d, d), to);
    }
    for (size_t j = first; j < end; ++j) {
      read_kv_rows(view, KvPart::kKeys, kv_head, j, row);
      map(row.row(0), 1);
      const float weight = dot(of_query, feature_);
      total += weight;
      read_kv_rows(view, KvPart::kValues, kv_head, j, row);
      axpy(weight, row.row(0), to);
    }
    scale(1 / total, to);
    compute.meter.read_kv((sums.keys.size() + sums.values.size()) * sizeof(float) +
                          2 * (end - first) * kv_row_bytes(view));
  }

  const FeatureKeys& all_;
  size_t n_features_ = 0;
  std::vector<float> directions_, feature_;
  std::vector<std::vector<Head>> layers_;  // [n_layer][n_kv_head]
};

std::unique_ptr<SelectorState> FeatureKeys::new_state() const { return std::make_unique<State>(*this); }

}  // namespace hunch
