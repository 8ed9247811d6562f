#include "select/prompt_keys.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "select/key_policy.h"
#include "select/last_queries.h"
#include "select/voted_keys.h"

namespace hunch {

void pool_votes(std::span<float> votes, size_t kernel, bool max) {
  const std::vector<float> own(votes.begin(), votes.end());
  const size_t half = kernel / 2;
  for (size_t i = 0; i < own.size(); ++i) {
    const size_t first = i - std::min(i, half), end = std::min(own.size(), i + half + 1);
    const std::span<const float> near = std::span(own).subspan(first, end - first);
    votes[i] = max ? std::ranges::max(near) : std::accumulate(near.begin(), near.end(), 0.0f) / float(kernel);
  }
}

void share_out(MatView<const float> votes, size_t n_kept, double floor, std::span<size_t> n_of_head) {
  const size_t n_least = size_t(floor * double(n_kept)), n_free = (n_kept - n_least) * votes.rows;
  std::ranges::fill(n_of_head, n_least);
  if (n_free == 0) return;
  std::vector<float> all;
  for (size_t head = 0; head < votes.rows; ++head)
    all.insert(all.end(), votes.row(head).begin(), votes.row(head).end());
  std::vector<uint32_t> ids(all.size());
  std::iota(ids.begin(), ids.end(), 0u);
  for (const uint32_t id : keep_heaviest(all, n_free, ids)) ++n_of_head[id / votes.cols];
}

class PromptKeys::State final : public KeyState {
 public:
  explicit State(const PromptKeys& all) : all_(all), queries_(all.options_.window) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  size_t n_queries() const override { return queries_.most(); }

  void see(const KeyPlace& place, const QueriesSeen& seen) override { queries_.see(place, seen); }

  void decide(Compute& compute, const KeyPlace& place) override {
    kept_.clear();
    const LayerQueries* const layer = queries_.take(place.layer);
    if (!layer) return;
    const size_t n_heads = place.view.n_kv_head, n_window = layer->n();
    size_t most = 0;
    for (size_t head = 0; head < n_heads; ++head) most = std::max(most, place.view.n_slots(head));
    const size_t n = all_.n_kept(place.layer, place.n_layer, most);
    if (n_window == 0 || most <= n + n_window) return;
    const Arena::Scope scope(compute.arena);
    const MatView<float> votes = vote(compute, place.view, *layer, most);
    std::vector<size_t> n_of_head(n_heads, n);
    if (all_.options_.floor < 1) share_out(votes.col_range(0, most - n_window), n, all_.options_.floor, n_of_head);
    kept_.resize(n_heads);
    for (size_t head = 0; head < n_heads; ++head) {
      const size_t n_slots = place.view.n_slots(head), n_before = n_slots - n_window;
      if (n_of_head[head] >= n_before) {
        kept_[head].refill_all(n_slots);
        continue;
      }
      std::vector<uint32_t>& slots = kept_[head].refill(n_slots);
      append_heaviest(votes.row(head).first(n_before), 0, n_before, n_of_head[head], slots);
      append_range(n_before, n_slots, slots);
    }
  }

  void keep(const KeyPlace& place, std::span<Rows> out) override { hand_out(place.view, kept_, out); }

  void truncate(size_t n_tokens) override { queries_.truncate(n_tokens); }

 private:
  // [n_kv_head, most slots] each head's pooled votes for the slots before the window, which are its last ones; then 0.
  MatView<float> vote(Compute& compute, const KvView& view, const LayerQueries& layer, size_t most) const {
    const size_t n = layer.n();
    const MatView<float> votes(compute.arena.take<float>(view.n_kv_head * most).data(), view.n_kv_head, most);
    std::fill_n(votes.data, view.n_kv_head * most, 0.0f);
    const MatView<float> nobody_asked(compute.arena.take<float>(n * layer.width).data(), n, layer.width);
    AttentionSpan span{view, 0, n, layer.first_position};
    span.key_weights = votes;
    attention(compute, layer.view(), layer.n_head, {&span, 1}, layer.params, nobody_asked);
    for (size_t head = 0; head < view.n_kv_head; ++head) {
      const std::span<float> before = votes.row(head).first(view.n_slots(head) - n);
      pool_votes(before, all_.options_.kernel, all_.options_.pools_max);
      std::ranges::fill(votes.row(head).subspan(before.size()), 0.0f);
    }
    return votes;
  }

  const PromptKeys& all_;
  LastQueries queries_;
  std::vector<Rows> kept_;  // [n_kv_head] of the layer that was decided last; none: all
};

PromptKeys::PromptKeys(std::string_view kind, const PromptKeysOptions& options) : kind_(kind), options_(options) {
  HUNCH_CHECK(options.window >= 1 && options.window < options.budget && options.kernel % 2 == 1 && options.beta >= 0 &&
                  options.floor >= 0 && options.floor <= 1,
              "budget {}, window {}, kernel {}", options.budget, options.window, options.kernel);
}

std::unique_ptr<SelectorState> PromptKeys::new_state() const { return std::make_unique<State>(*this); }

size_t PromptKeys::n_kept(size_t layer, size_t n_layer, size_t n_tokens) const {
  const size_t even = options_.budget - options_.window;
  if (n_tokens < options_.budget) return n_tokens;
  if (options_.beta == 0 || n_layer < 2 || n_tokens < 2 * even) return even;
  size_t least = size_t(double(even) / options_.beta), most = 2 * even - least;
  if (const size_t n = n_tokens - options_.window; most >= n) most = n, least = 2 * even - n;
  return most - layer * ((most - least) / (n_layer - 1));
}

}  // namespace hunch
