// One text, several ways to compute a model, and other models beside it: what each costs and what it changes.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   const std::vector<hunch::Mode> modes = {{.plan = {.name = "dense"}}, {.plan = {.name = "exact"}}};
//   for (const hunch::ModeReport& mode : hunch::compare(model, "A long text. ...", modes))
//     std::cout << mode.name << ": perplexity " << mode.perplexity << ", KL " << mode.kl << ", "
//               << mode.bytes_per_token / 1e6 << " MB per token\n";
//
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"
#include "hunch/progress.h"

namespace hunch {

// A way to compute.
struct Mode {
  std::string name = {};           // of its row; empty: its plan's name
  LanguageModel* model = nullptr;  // another one with the same tokens, as it is; none: the one that is asked about
  PlanChoice plan = {};
  std::string kv_policy = {}, experts = {};
  std::string kv = {};                     // type of the cache; empty: the model's own (LoadOptions)
  std::vector<LoraAdapter> adapters = {};  // none: the model as it is
  // The speed of drafts from the sparse plan (where there is a sidecar) and n-grams, the quality of `plan`.
  bool lossless = false;
  // Below 1: the two-pass oracle, which keeps so many of the neurons and heads, the best ones by a first pass that is
  // not counted. What a perfect predictor could save; its plan is "exact" or "dense".
  double oracle_density = 1, oracle_head_density = 1;
};

struct ComparisonOptions {
  // As TextPerplexityOptions.
  std::size_t n_ctx = 0, stride = 0, max_tokens = 0;
  std::size_t n_decode = 64;  // tokens that are decoded for speed and bytes, after a prompt from the text
  std::size_t n_repeats = 3;  // of that, at least 1; modes take turns, medians are reported
  OnProgress on_progress = {};
  const Cancel* cancel = nullptr;  // ends the call with Error{kInterrupted}
};

struct ModeReport {
  std::string name;
  double perplexity = 0;
  double perplexity_error = 0;           // one standard error
  double change = 0;                     // of the perplexity, against the first mode's: 0.01 is 1 % more
  double change_error = 0;               // one standard error of that, which knows that both read the same tokens
  double kl = 0;                         // mean over tokens of KL(first mode || this one), nats
  double top1 = 1;                       // share of tokens whose most probable next token is the first mode's
  double density = 1, head_density = 1;  // computed share of neurons and heads, mean over layers
  std::vector<double> density_per_layer;
  double bytes_per_token = 0;     // weights and cache that decoding one token read
  double kv_bytes_per_token = 0;  // the cache's part of it
  double tokens_per_s = 0;        // decoding one token after the other; 0: an oracle's, whose speed is no method's
  double tokens_per_pass = 1, acceptance = 0;  // of drafts
};

// The first mode is the reference. All read the same tokens: quality is measured on the text's windows, speed by
// decoding the text's own tokens (of `lossless`, by going on in its own words). Throws Error{kUsage} for no modes, a
// text of less than two tokens, other tokens than the reference's, names that make no sense, and as generate() for
// sidecars and adapters.
std::vector<ModeReport> compare(LanguageModel& model, std::string_view text, std::span<const Mode> modes,
                                const ComparisonOptions& options = {});

}  // namespace hunch
