#include "select/expected_keys.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/kv_rows.h"
#include "kernels/ops.h"
#include "select/expected_attention.h"
#include "select/last_queries.h"
#include "select/voted_keys.h"

namespace hunch {

class ExpectedKeys::State final : public KeyState {
 public:
  explicit State(const ExpectedKeysOptions& options) : options_(options), queries_(options.queries) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  size_t n_queries() const override { return queries_.most(); }

  void see(const KeyPlace& place, const QueriesSeen& seen) override {
    LayerQueries& layer = queries_.see(place, seen);
    turns_.resize(place.n_layer);
    Turn& mean = turns_[place.layer];
    if (!seen.turns) return void(mean = {});
    const size_t n_pairs = seen.turns->n_pairs(), d = seen.Q.cols / seen.n_head;
    const size_t n = std::min(seen.Q.rows, layer.n());
    std::vector<float> cos(n_pairs), sin(n_pairs);
    for (size_t t = 0; t < n; ++t) {
      seen.turns->at(seen.first_position + seen.Q.rows - n + t, cos, sin);
      const std::span<float> row = layer.row(layer.n() - n + t);
      for (size_t head = 0; head < seen.n_head; ++head)
        turn_back(row.subspan(head * d, d), cos, sin, seen.turns->interleaved());
    }
    if (!seen.is_prompt) return;
    mean = {std::vector<float>(n_pairs), std::vector<float>(n_pairs), seen.turns->interleaved()};
    for (size_t i = 0; i < options_.future; ++i) {
      seen.turns->at(layer.end() + i, cos, sin);
      axpy(1.0f / float(options_.future), cos, mean.cos);
      axpy(1.0f / float(options_.future), sin, mean.sin);
    }
  }

  void decide(Compute& compute, const KeyPlace& place) override {
    kept_.clear();
    const LayerQueries* const layer = queries_.take(place.layer);
    if (!layer) return;
    const size_t n_heads = place.view.n_kv_head, n_said = n_saying(*layer);
    size_t most = 0;
    for (size_t head = 0; head < n_heads; ++head) most = std::max(most, place.view.n_slots(head));
    if (n_said == 0 || most <= options_.budget) return;
    const Arena::Scope scope(compute.arena);
    const MatView<float> votes(compute.arena.take<float>(n_heads * most).data(), n_heads, most);
    std::fill_n(votes.data, n_heads * most, 0.0f);
    for (size_t head = 0; head < n_heads; ++head) vote(compute, place, *layer, n_said, head, votes.row(head));
    keep_voted(place.view, votes, options_.sinks, options_.budget, options_.floor, kept_);
  }

  void keep(const KeyPlace& place, std::span<Rows> out) override { hand_out(place.view, kept_, out); }
  void truncate(size_t n_tokens) override { queries_.truncate(n_tokens); }

 private:
  struct Turn {
    std::vector<float> cos, sin;  // [n_pairs] mean over the positions to come
    bool interleaved = false;
  };

  // Queries that are not those of sinks.
  size_t n_saying(const LayerQueries& layer) const {
    return layer.n() - std::min(layer.n(), options_.sinks - std::min(options_.sinks, layer.first_position));
  }

  // votes [n_slots]: the mean over the group's heads of the softmax of expected scores, times the norms of values.
  void vote(Compute& compute, const KeyPlace& place, const LayerQueries& layer, size_t n_said, size_t kv_head,
            std::span<float> votes) const {
    const KvView& kv = place.view;
    const size_t d = kv.d_head, n_slots = kv.n_slots(kv_head), n_group = layer.n_head / kv.n_kv_head;
    const Arena::Scope scope(compute.arena);
    const std::span<float> scores = compute.arena.take<float>(n_slots);
    const Turn& turn_by = turns_[place.layer];
    const auto for_slots = [&](const auto& with) {
      compute.threads.parallel_for(n_slots, 64, [&](size_t begin, size_t end) {
        std::vector<float> row(d);
        for (size_t slot = begin; slot < end; ++slot) with(slot, std::span(row));
      });
    };
    for (size_t h = kv_head * n_group; h < (kv_head + 1) * n_group; ++h) {
      QueryGaussian g =
          gaussian_of(layer.view().row_range(layer.n() - n_said, n_said).col_range(h * d, d), options_.covariance);
      if (!turn_by.cos.empty()) turn(g, turn_by.cos, turn_by.sin, turn_by.interleaved);
      const auto& slopes = layer.params.alibi_slopes;
      for_slots([&](size_t slot, std::span<float> key) {
        read_kv_rows(kv, KvPart::kKeys, kv_head, slot, {key.data(), 1, d});
        scores[slot] = expected_score(g, layer.params.scale, key);
        if (!slopes.empty())
          scores[slot] += slopes[h] * (float(kv.position(kv_head, slot)) - float(layer.end() + options_.future / 2));
      });
      const size_t n_sinks = std::min(options_.sinks, n_slots);
      softmax(scores.subspan(n_sinks));
      for (size_t slot = n_sinks; slot < n_slots; ++slot) votes[slot] += scores[slot] / float(n_group);
    }
    if (!options_.values) return;
    for_slots([&](size_t slot, std::span<float> value) {
      read_kv_rows(kv, KvPart::kValues, kv_head, slot, {value.data(), 1, d});
      votes[slot] *= std::sqrt(dot(value, value));
    });
  }

  const ExpectedKeysOptions& options_;
  LastQueries queries_;      // turned back
  std::vector<Turn> turns_;  // [n_layer]
  std::vector<Rows> kept_;
};

ExpectedKeys::ExpectedKeys(const ExpectedKeysOptions& options) : options_(options) {
  HUNCH_CHECK(options.sinks < options.budget && options.queries > 0 && options.future > 0 && options.floor >= 0 &&
                  options.floor <= 1,
              "budget {}, sinks {}", options.budget, options.sinks);
}

std::unique_ptr<SelectorState> ExpectedKeys::new_state() const { return std::make_unique<State>(options_); }

}  // namespace hunch
