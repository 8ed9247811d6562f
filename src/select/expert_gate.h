// The gate of a mixture of experts: router logits in, each token's experts and their weights out.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/view.h"

namespace hunch {

// Each token's experts, best first, [n_tokens, k] row-major. A token's experts are distinct.
struct ExpertChoices {
  size_t n_tokens = 0, n_expert = 0, k = 0;
  std::vector<uint32_t> expert;  // < n_expert
  std::vector<float> weight;     // what the expert's output is multiplied by

  void resize(size_t tokens, size_t experts, size_t per_token);
};

enum class RouterScore {
  kSoftmax,
  kSigmoid,
  // Liu et al. 2024, "GRIN" (arXiv:2409.12136), section 3.1, as Phi-3.5-MoE infers: an expert's weight is its share in
  // a softmax over the logits that are near its own, those of the experts chosen before left out.
  kSparseMixer,
};

// What experts of a group that lost count as while the best experts are chosen. DeepSeek's own code excludes them;
// Hugging Face's copy of V3 gives them the score 0, which wins against negative biased scores.
enum class LosingGroups { kExcluded, kZero };

struct ExpertGateConfig {
  size_t k = 1;  // experts per token
  RouterScore score = RouterScore::kSoftmax;
  // [n_expert] or empty: added to the scores to choose by, never to the weights. Kept alive by the caller.
  std::span<const float> bias;
  // Experts come in n_group equal, contiguous groups, and only the n_group_used best take part. A group's score is the
  // sum of its `group_best` best biased scores: 1 in DeepSeek-V2, 2 in V3.
  size_t n_group = 1, n_group_used = 1, group_best = 1;
  LosingGroups losing = LosingGroups::kExcluded;
  float jitter = 0.0f;       // kSparseMixer: near are logits l <= best with (best - l) <= 2 * jitter * max(|l|, best)
  bool renormalise = false;  // divide a token's weights by their sum (after choosing, before `scale`)
  float scale = 1.0f;
};

// Chooses each token's k experts by softmax or sigmoid scores; among equal scores the lower id (experts and groups).
// NaN scores lose against all others.
//
// With the defaults, or `renormalise` set, it gives bit for bit what hunch's mixture of experts computed: softmax of
// all logits, then the best k (Shazeer et al. 2017, arXiv:1701.06538, section 2.1, as Mixtral and Qwen use it). One
// expert per token is the gate of Fedus et al. 2022, "Switch Transformers" (arXiv:2101.03961, section 2.1). Groups:
// DeepSeek-V2 (arXiv:2405.04434, section 2.2.2, device-limited routing). Sigmoid and bias: DeepSeek-V3
// (arXiv:2412.19437, section 2.1.2).
//
// Allocates only when it meets more tokens or experts than before. Not thread safe: it owns its scratch.
class ExpertGate {
 public:
  // logits [n_tokens, n_expert]; `out` is refilled. The caller has checked that the config makes sense: see the .cc.
  void choose(const ExpertGateConfig& config, MatView<const float> logits, ExpertChoices& out);

 private:
  void score(const ExpertGateConfig& config, std::span<const float> logits);
  void leave_best_groups(const ExpertGateConfig& config);
  void mix_sparsely(const ExpertGateConfig& config, std::span<const uint32_t> expert, std::span<float> weight);

  std::vector<float> score_, biased_, group_score_;  // of one token
  std::vector<uint32_t> groups_;
};

// Writes the ids of the largest scores, best first, among equals the lower id; NaN loses against all others.
// out.size() <= score.size(); cost score.size() * out.size().
void best_of(std::span<const float> score, std::span<uint32_t> out);

}  // namespace hunch
