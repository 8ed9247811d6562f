#include "select/pooled_keys.h"

#include <algorithm>
#include <cmath>

#include "kernels/attention_merge.h"
#include "kernels/kv_rows.h"
#include "kernels/ops.h"

namespace hunch {

class PooledKeys::State final : public SplitState {
 public:
  explicit State(const PooledKeys& all) : SplitState(all.kind(), all.form_, all.options_.recent), all_(all) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  void truncate(size_t n_tokens) override {
    for (auto& layer : layers_)
      for (Head& head : layer) go_back(head, n_tokens);
  }

 protected:
  void prepare(const KeyPlace& place, const KvView& view) override {
    layers_.resize(place.n_layer);
    layers_[place.layer].resize(view.n_kv_head);
  }

  size_t look(const KeyPlace& place, const KvView& view, size_t kv_head, size_t n_far, float) override {
    Head& head = layers_[place.layer][kv_head];
    go_back(head, n_far);  // a text that went back may have fewer far keys and still all of them
    const size_t d = view.d_head, n_before = head.now.n_tokens;
    if (n_before >= n_far) return 0;
    std::vector<float> row(d);
    const MatView<float> one(row.data(), 1, d);
    while (head.now.n_tokens < n_far) {
      head.before = head.now;
      Pool& pool = head.now;
      for (size_t end = pool.n_tokens + kBlock; pool.n_tokens < end; ++pool.n_tokens) {
        if (pool.n_tokens == pool.n_together * all_.options_.budget) halve(pool, d);
        const size_t i = pool.n_tokens / pool.n_together;
        pool.keys.resize((i + 1) * d);
        pool.values.resize((i + 1) * d);
        read_kv_rows(view, KvPart::kKeys, kv_head, pool.n_tokens, one);
        add(row, std::span(pool.keys).subspan(i * d, d));
        read_kv_rows(view, KvPart::kValues, kv_head, pool.n_tokens, one);
        add(row, std::span(pool.values).subspan(i * d, d));
      }
    }
    return n_far - n_before;
  }

  size_t join(const Query& query, std::span<float> y, float& max, float& sum) const override {
    const Pool& pool = layers_[query.place.layer][query.kv_head].now;
    const size_t d = y.size(), n_rows = pool.keys.size() / d;
    std::vector<float> scores(n_rows), mix(d);
    float most = -INFINITY, total = 0;
    for (size_t i = 0; i < n_rows; ++i) {
      scores[i] = query.scale * dot(query.q, std::span(pool.keys).subspan(i * d, d)) / float(pool.n_in(i));
      most = std::max(most, scores[i]);
    }
    for (size_t i = 0; i < n_rows; ++i) {
      const float weight = std::exp(scores[i] - most);
      total += weight * float(pool.n_in(i));
      axpy(weight, std::span(pool.values).subspan(i * d, d), mix);
    }
    if (total > 0) scale(1 / total, mix);
    merge_attention(mix, most, total, y, max, sum);
    return 2 * n_rows * d * sizeof(float);
  }

 private:
  // Of keys 0 to n_tokens - 1: the sums of n_together neighbours each, and of what is left.
  struct Pool {
    std::vector<float> keys, values;  // [rows, d]
    size_t n_together = 1, n_tokens = 0;
    size_t n_in(size_t row) const { return std::min(n_together, n_tokens - row * n_together); }
  };
  struct Head {
    Pool now, before;
  };
  // To what is known of no more than so many keys.
  static void go_back(Head& head, size_t n_tokens) {
    if (head.now.n_tokens > n_tokens) head.now = head.before.n_tokens <= n_tokens ? head.before : Pool();
  }

  // Of two rows one; of full ones, of which the last may have no neighbour.
  static void halve(Pool& pool, size_t d) {
    const size_t n_rows = pool.keys.size() / d;
    for (std::vector<float>* rows : {&pool.keys, &pool.values}) {
      for (size_t i = 0; i < n_rows; ++i) {
        const std::span<const float> from = std::span(*rows).subspan(i * d, d);
        const std::span<float> to = std::span(*rows).subspan(i / 2 * d, d);
        if (i % 2) {
          add(from, to);
        } else if (i > 0) {
          std::ranges::copy(from, to.begin());
        }
      }
      rows->resize((n_rows + 1) / 2 * d);
    }
    pool.n_together *= 2;
  }

  const PooledKeys& all_;
  std::vector<std::vector<Head>> layers_;  // [n_layer][n_kv_head]
};

std::unique_ptr<SelectorState> PooledKeys::new_state() const { return std::make_unique<State>(*this); }

}  // namespace hunch
