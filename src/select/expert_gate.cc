#include "select/expert_gate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/sigmoid.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kTiny = 1e-20f;  // DeepSeek-V3's, so that weights which all underflow do not become 0/0

}  // namespace

void ExpertChoices::resize(size_t tokens, size_t experts, size_t per_token) {
  n_tokens = tokens;
  n_expert = experts;
  k = per_token;
  expert.resize(tokens * per_token);
  weight.resize(tokens * per_token);
}

void best_of(std::span<const float> score, std::span<uint32_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const auto taken = out.first(i);
    uint32_t best = uint32_t(score.size());
    for (uint32_t e = 0; e < score.size(); ++e) {
      const bool better =
          best == score.size() || score[e] > score[best] || (std::isnan(score[best]) && score[e] == score[e]);
      if (better && std::ranges::find(taken, e) == taken.end()) best = e;
    }
    out[i] = best;
  }
}

void ExpertGate::score(const ExpertGateConfig& c, std::span<const float> logits) {
  score_.assign(logits.begin(), logits.end());
  if (c.score == RouterScore::kSoftmax) {
    softmax(score_);
  } else if (c.score == RouterScore::kSigmoid) {
    for (float& s : score_) s = sigmoid(s);
  }
  biased_ = score_;
  if (!c.bias.empty()) add(c.bias, biased_);
}

// Overwrites the biased scores of the experts outside the best groups.
void ExpertGate::leave_best_groups(const ExpertGateConfig& c) {
  const size_t n_in_group = biased_.size() / c.n_group;
  group_score_.resize(c.n_group);
  groups_.resize(std::max(c.n_group_used, c.group_best));
  for (size_t g = 0; g < c.n_group; ++g) {
    const auto group = std::span(biased_).subspan(g * n_in_group, n_in_group);
    const auto best = std::span(groups_).first(std::min(c.group_best, n_in_group));
    best_of(group, best);
    group_score_[g] = 0;
    for (uint32_t e : best) group_score_[g] += group[e];
  }
  const auto used = std::span(groups_).first(c.n_group_used);
  best_of(group_score_, used);
  for (uint32_t g = 0; g < c.n_group; ++g)
    if (std::ranges::find(used, g) == used.end())
      std::fill_n(biased_.begin() + ptrdiff_t(g * n_in_group), n_in_group,
                  c.losing == LosingGroups::kZero ? 0.0f : kLowest);
}

// Each expert in turn, best first, and its share among the logits near its own.
void ExpertGate::mix_sparsely(const ExpertGateConfig& c, std::span<const uint32_t> expert, std::span<float> weight) {
  std::vector<float>& left = biased_;  // the logits of experts that are not chosen yet
  for (size_t i = 0; i < expert.size(); ++i) {
    const float best = score_[expert[i]];
    double sum = 0;
    for (size_t e = 0; e < left.size(); ++e)
      if (best - left[e] <= 2 * c.jitter * std::max(std::abs(score_[e]), best)) sum += std::exp(double(left[e]) - best);
    weight[i] = float(1 / sum);
    left[expert[i]] = kLowest;
  }
}

void ExpertGate::choose(const ExpertGateConfig& c, MatView<const float> logits, ExpertChoices& out) {
  const size_t n_expert = logits.cols, k = c.k;
  HUNCH_CHECK(k >= 1 && k <= n_expert, "{} of {} experts per token", k, n_expert);
  HUNCH_CHECK(c.bias.empty() || c.bias.size() == n_expert, "bias of {}, {} experts", c.bias.size(), n_expert);
  HUNCH_CHECK(c.n_group >= 1 && n_expert % c.n_group == 0, "{} experts in {} groups", n_expert, c.n_group);
  HUNCH_CHECK(c.n_group_used >= 1 && c.n_group_used <= c.n_group && c.group_best >= 1);
  HUNCH_CHECK(k <= n_expert / c.n_group * c.n_group_used, "{} experts per token, fewer in the groups used", k);

  out.resize(logits.rows, n_expert, k);
  for (size_t t = 0; t < logits.rows; ++t) {
    score(c, logits.row(t));
    if (c.n_group_used < c.n_group) leave_best_groups(c);
    const auto expert = std::span(out.expert).subspan(t * k, k);
    const auto weight = std::span(out.weight).subspan(t * k, k);
    best_of(biased_, expert);
    float total = 0;
    if (c.score == RouterScore::kSparseMixer) {
      mix_sparsely(c, expert, weight);
    } else {
      for (size_t i = 0; i < k; ++i) weight[i] = score_[expert[i]];
    }
    for (const float w : weight) total += w;
    for (float& w : weight) w = (c.renormalise ? w / (total + kTiny) : w) * c.scale;
  }
}

}  // namespace hunch
