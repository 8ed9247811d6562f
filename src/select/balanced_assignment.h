// Every expert gets equally many tokens: assignments that maximise the total affinity, exactly or nearly, and
// Sinkhorn's matrix, which balances loads approximately. All of them look at the whole batch: a token's expert depends
// on its company.
#pragma once
#include <cstdint>
#include <vector>

#include "base/view.h"
#include "select/expert_gate.h"

namespace hunch {

enum class Balance {
  kOptimal,  // the largest total score there is (successive shortest paths; O(n_tokens^2 * n_expert))
  kAuction,  // near the optimum and quicker: experts bid for tokens (Bertsekas 1992), with the increment and the limit
             // of rounds of the BASE layers' published code
  kGreedy,   // the largest score that is still to be had, again and again; O(n log n), a few per cent below the optimum
};

// Gives each token one expert and each expert at most ceil(n_tokens / n_expert) tokens.
//
//   scores  [n_tokens, n_expert]  finite; larger is better
//   expert  [n_tokens]            refilled
//
// Among equal totals the choice is deterministic. Allocates.
// Source: Lewis et al. 2021, "BASE Layers" (arXiv:2103.16716), section 3.1 (equation 3) and appendix A. Their test-time
// routing is unbalanced, the best expert of each token: that is ExpertGate with one expert and sigmoid scores.
void assign_balanced(MatView<const float> scores, Balance balance, std::vector<uint32_t>& expert);

// assign_balanced() as choices for route_all(): one expert per token, the sigmoid of the score as its weight (equation
// 2).
void choose_balanced(MatView<const float> scores, Balance balance, ExpertChoices& out);

// Scales rows and columns of exp(logits) in turn until rows sum to about 1/n_tokens and columns to 1/n_expert: until
// the column factors change by less than `tolerance` on average, 1000 rounds at most.
//
//   logits    [n_tokens, n_expert]  finite
//   balanced  [n_tokens, n_expert]  written; may not overlap logits
//
// Double precision inside. Subtracts each row's maximum first, which Megatron-LM's code does not: the same matrix (the
// row factors absorb it) without overflow. Returns the number of rounds. Source: Sinkhorn & Knopp 1967; Clark et al.
// 2022, "Unified Scaling Laws for Routed Language Models" (arXiv:2202.01169), section 4.1; as in Megatron-LM's
// moe_utils.sinkhorn.
size_t sinkhorn(MatView<const float> logits, MatView<float> balanced, double tolerance = 1e-4);

// Chooses each token's k largest entries of `balanced`; weights come from the logits, as in Megatron-LM's router: their
// sigmoid for k = 1, their softmax otherwise, not renormalised.
//
//   logits    [n_tokens, n_expert]  overwritten by that sigmoid or softmax
//   balanced  [n_tokens, n_expert]  what sinkhorn() made of them
void choose_from_sinkhorn(MatView<float> logits, MatView<const float> balanced, size_t k, ExpertChoices& out);

}  // namespace hunch
