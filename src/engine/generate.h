// Generating text: options, tokens as they come, the answer.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/constraint.h"
#include "engine/context.h"
#include "engine/sampler.h"

namespace hunch {

enum class StopReason : uint8_t { kLength, kEndOfText, kStopString, kContextFull, kInterrupted };
const char* name_of(StopReason reason);

class Speculation;

struct GenerateOptions {
  size_t n_tokens = 128;  // at most this many new tokens
  SamplerOptions sampler;
  std::vector<std::string> stop;  // generation ends before the first of these; never shown
  bool ignore_end = false;        // go on past end-of-text tokens
  // Whether GeneratedToken::log_prob is wanted, else it is 0: decoding greedily, sparse mode may then guess most
  // logits.
  bool log_probs = true;
  // Every token, of the prompt too, gets the bits that it has when nobody shares its steps (Run::as_alone): slower
  // prompts. Without, what it shares a step with changes the rounding.
  bool as_alone = false;
  size_t n_history = 0;        // last tokens of the sequence that are the prompt's: penalties look back on them too
  bool trace = false;          // GeneratedToken::layers are wanted
  size_t n_top_log_probs = 0;  // how many alternatives to report per token; more than 0 wants log_probs
  // Control tokens whose text is part of the answer, as those around the part in which a model thinks; that of others
  // is not.
  std::vector<int32_t> shown;
  // Makes what the answer must be, once for every answer; none: anything. An answer that can only end ends, with
  // StopReason::kEndOfText.
  std::function<std::unique_ptr<Constraint>()> constraint;
  const Stop* cancel = nullptr;  // ends this answer after the token that is being made; what is there is kept
  bool is_stopped() const { return cancel && cancel->requested(); }
  // Who drafts tokens (engine/speculate.h), or none. Changes the speed, not the answer.
  Speculation* speculation = nullptr;
};

struct GeneratedToken {
  int32_t id;
  std::string text;  // text that became complete with this token (whole characters)
  float log_prob;
  std::vector<TokenProbability> top;
  // What the pass that chose it used of each layer, in this answer's own part of it; where options.trace asks. The pass
  // over the end of a prompt chooses the first token.
  std::vector<LayerUse> layers = {};
};

struct Generated {
  std::string text;
  std::vector<int32_t> ids;  // new tokens, the end-of-text token not among them
  size_t n_prompt = 0;
  // Tokens that passes after the prompt's decided; its own pass gives the first. An end-of-text token counts.
  size_t n_decoded = 0;
  StopReason stop_reason = StopReason::kLength;
  std::string stop_string;  // that ended it, of kStopString
  // The end-of-text token that ended it, with its probabilities; where these were asked for.
  std::optional<GeneratedToken> end_token = {};
  // Prompt processing; generation. In a batch, the steps of this time are those of all that took part in them.
  double prompt_seconds = 0, seconds = 0;
  StepStats prompt_stats, stats;
};

// Generates after `prompt_ids` (appended to what the context holds). `on_token` sees each token as
// it is made; returning false stops. Text that might be the beginning of a stop string is held back
// until it is decided. Ctrl-C stops with StopReason::kInterrupted and keeps what is there.
Generated generate(Context& context, std::span<const int32_t> prompt_ids, const GenerateOptions& options,
                   const std::function<bool(const GeneratedToken&)>& on_token = {});

}  // namespace hunch
