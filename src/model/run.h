// What a step is asked for: consecutive tokens of sequences, and how each run of them is computed.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "linear/linear.h"
#include "model/plan.h"
#include "model/run_trace.h"
#include "select/selector_states.h"
#include "state/kv_cache.h"

namespace hunch {

// What the tokens of a run are; declared, not guessed from their number.
enum class Phase : uint8_t {
  kPrompt,  // read: every selector is silent (but is shown what it learns from)
  kDecode,  // the newest token of an answer, restricted as the plan says
  kVerify,  // drafted tokens that are checked, restricted likewise
};

// Consecutive new tokens of one sequence.
struct Run {
  KvCache::SequenceId sequence;
  size_t n_tokens;
  Phase phase = Phase::kPrompt;
  const Plan* plan = nullptr;  // none: dense. Of the model's layers; outlives the step
  // Every token gets the bits that a step with it alone would give: what verifies drafts decides as decoding one by one
  // would (docs/speculation.md). Weights are still read once for all tokens; meant for a few.
  bool as_alone = false;
  // Of every row of logits only the largest must be right, as greedy decoding wants it: the others may be the guesses
  // of the plan's screen, none of which exceeds it, or -infinity.
  bool only_best = false;
  // The same of so many of the largest, of equals those with the smaller ids; the others may be -infinity. 0: all must
  // be right.
  size_t n_best = 0;
  bool is_virtual = false;  // its ids are numbers of the adapter's virtual tokens, which stand before a text
  // Tokens that the text will have, where more than those of this run are known: RoPE may follow the length. 0: not
  // known.
  size_t n_text = 0;
  // More of this prompt comes: its keys stay until then (Transformer::settle_keys).
  bool goes_on = false;
  // Of a pair of texts that is read as one: the token with which the second begins. SIZE_MAX: there is one text.
  size_t second_begins = SIZE_MAX;
  const Adapter* adapter = nullptr;
  SelectorStates* states = nullptr;  // of the sequence, where its plans have selectors that remember it
  std::span<const std::shared_ptr<const Plan>> watching = {};  // whose selectors are shown a prompt
  RunTrace* trace = nullptr;                                   // filled by the step, where it is there
};

struct StepInput {
  std::span<const int32_t> ids;          // [n_tokens] all runs one after the other
  std::span<const Run> runs;             // their n_tokens sum to ids.size()
  std::span<const uint32_t> logit_rows;  // tokens whose logits are wanted, strictly increasing
};

}  // namespace hunch
