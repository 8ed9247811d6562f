#include "select/feature_keys.h"

#include <algorithm>
#include <cmath>
#include <random>

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

class FeatureKeys::State final : public SplitState {
 public:
  explicit State(const FeatureKeys& all) : SplitState(all.kind_, all.form_, all.options_.recent), all_(all) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  void truncate(size_t n_tokens) override {
    for (auto& layer : layers_)
      for (Head& head : layer) go_back(head, n_tokens);
  }

 protected:
  bool near_is_softmax() const override { return all_.options_.n_features > 0; }

  void prepare(const KeyPlace& place, const KvView& view) override {
    const size_t d = view.d_head;
    n_features_ = near_is_softmax() ? all_.options_.n_features : d;
    if (near_is_softmax() && directions_.size() != n_features_ * d)
      directions_ = orthogonal_directions(n_features_, d, all_.options_.seed);
    layers_.resize(place.n_layer);
    layers_[place.layer].resize(view.n_kv_head);
  }

  size_t look(const KeyPlace& place, const KvView& view, size_t kv_head, size_t n_far, float scale_of_scores) override {
    Head& head = layers_[place.layer][kv_head];
    go_back(head, n_far);  // a text that went back may have fewer far keys and still all of them
    const size_t d = view.d_head, n_before = head.now.n_tokens;
    if (n_before >= n_far) return 0;
    std::vector<float> rows(2 * d), features(n_features_);
    const MatView<float> key(rows.data(), 1, d), value(rows.data() + d, 1, d);
    while (head.now.n_tokens < n_far) {
      head.before = head.now;
      Sums& now = head.now;
      now.values.resize(n_features_ * d);
      now.keys.resize(n_features_);
      for (size_t end = now.n_tokens + kBlock; now.n_tokens < end; ++now.n_tokens) {
        read_kv_rows(view, KvPart::kKeys, kv_head, now.n_tokens, key);
        read_kv_rows(view, KvPart::kValues, kv_head, now.n_tokens, value);
        const float offset = map(key.row(0), scale_of_scores, features);
        if (offset > now.offset) {
          const float less = now.offset == -INFINITY ? 0.0f : std::exp(now.offset - offset);
          scale(less, now.values);
          scale(less, now.keys);
          now.offset = offset;
        }
        const float weight = std::exp(offset - now.offset);
        for (size_t i = 0; i < n_features_; ++i) {
          now.keys[i] += weight * features[i];
          axpy(weight * features[i], value.row(0), std::span(now.values).subspan(i * d, d));
        }
      }
    }
    return n_far - n_before;
  }

  size_t join(const Query& query, std::span<float> y, float& max, float& sum) const override {
    const Sums& sums = layers_[query.place.layer][query.kv_head].now;
    return near_is_softmax() ? far(sums, query, y, max, sum) : linear(sums, query, y);
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
  // To what is known of no more than so many keys.
  static void go_back(Head& head, size_t n_tokens) {
    if (head.now.n_tokens > n_tokens) head.now = head.before.n_tokens <= n_tokens ? head.before : Sums();
  }

  // f(x) times e^-(what is returned): of the positive features e^(w_i.x - |x|^2 / 2), x times the root of the scale.
  float map(std::span<const float> x, float scale_of_scores, std::span<float> features) const {
    if (!near_is_softmax()) {
      for (size_t i = 0; i < x.size(); ++i) features[i] = x[i] > 0 ? x[i] + 1 : std::exp(x[i]);
      return 0;
    }
    const float root = std::sqrt(scale_of_scores), half = dot(x, x) * scale_of_scores / 2;
    float most = -INFINITY;
    for (size_t i = 0; i < n_features_; ++i) {
      features[i] = dot(std::span(directions_).subspan(i * x.size(), x.size()), x) * root;
      most = std::max(most, features[i]);
    }
    for (float& f : features) f = std::exp(f - most);
    return most - half;
  }

  // What the sums weigh joins what was summed exactly.
  size_t far(const Sums& sums, const Query& query, std::span<float> y, float& max, float& sum) const {
    std::vector<float> features(n_features_), mix(y.size());
    const float offset = map(query.q, query.scale, features) + sums.offset - std::log(float(n_features_));
    const float total = dot(features, sums.keys);
    for (size_t i = 0; i < n_features_; ++i)
      axpy(features[i], std::span(sums.values).subspan(i * y.size(), y.size()), mix);
    if (total > 0) scale(1 / total, mix);
    merge_attention(mix, offset, total, y, max, sum);
    return (n_features_ + sums.values.size()) * sizeof(float);
  }

  // All keys by elu + 1, those after the sums one by one.
  size_t linear(const Sums& sums, const Query& query, std::span<float> y) const {
    const KvView& view = query.span.kv;
    const size_t d = view.d_head, end = query.span.first_pos + 1;
    std::vector<float> values(3 * d);
    const std::span<float> of_query = std::span(values).first(d), of_key = std::span(values).subspan(d, d);
    const MatView<float> row(values.data() + 2 * d, 1, d);
    map(query.q, 1, of_query);
    std::ranges::fill(y, 0.0f);
    float total = 0;
    if (!sums.keys.empty()) {
      total = dot(of_query, sums.keys);
      for (size_t i = 0; i < d; ++i) axpy(of_query[i], std::span(sums.values).subspan(i * d, d), y);
    }
    for (size_t j = query.n_far; j < end; ++j) {
      read_kv_rows(view, KvPart::kKeys, query.kv_head, j, row);
      map(row.row(0), 1, of_key);
      const float weight = dot(of_query, of_key);
      total += weight;
      read_kv_rows(view, KvPart::kValues, query.kv_head, j, row);
      axpy(weight, row.row(0), y);
    }
    scale(1 / total, y);
    return (sums.keys.size() + sums.values.size()) * sizeof(float) + 2 * (end - query.n_far) * kv_row_bytes(view);
  }

  const FeatureKeys& all_;
  size_t n_features_ = 0;
  std::vector<float> directions_;
  std::vector<std::vector<Head>> layers_;  // [n_layer][n_kv_head]
};

std::unique_ptr<SelectorState> FeatureKeys::new_state() const { return std::make_unique<State>(*this); }

}  // namespace hunch
