// What a model does on a text, layer by layer: the evidence for contextual sparsity (Liu et al. 2023, "Deja Vu",
// section 3), gathered in one dense pass, and the perplexity that the two-pass oracle keeps.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/generate.h"
#include "measure/attention_map.h"
#include "measure/expert_load.h"

namespace hunch {

struct HeadId {
  size_t layer = 0, head = 0;
  bool operator==(const HeadId&) const = default;
};

struct TraceOptions {
  size_t max_tokens = 2048;     // of the text; cut down to whole windows
  size_t n_ctx = 0;             // tokens per window; 0: the model's trained context, at most 512
  size_t oracle_tokens = 1024;  // of these tokens, for the oracle's perplexity, which costs 35 passes; 0: none
  std::vector<HeadId> heads;    // whose attention maps are kept; empty: up to six telling ones are chosen
};

// A share and how it is spread over tokens: mean, 10th and 90th percentile. All in [0, 1].
struct Spread {
  double mean = 0, p10 = 0, p90 = 0;
};

// Which of a layer's units count as active for a token.
enum class ActiveRule : uint8_t {
  kNonzero,  // neurons that ReLU left above zero, exactly
  kNeeded,   // neurons needed for 99 % of the output (an activation that is never exactly zero)
  kRouted,   // experts that the router chose
};

struct LayerTrace {
  ActiveRule rule = ActiveRule::kNonzero;
  size_t n_units = 0;                          // neurons, or experts
  Spread active;                               // share of the units, over the tokens
  std::optional<Spread> needed_99, needed_90;  // share of the neurons whose omitted rest changes the MLP's output by at
                                               // most 1 %, 10 % of its norm (CETT); none for experts
  std::vector<uint32_t> counts;                // [n_units] tokens that had the unit active, of n_counted
  size_t n_counted = 0;
  std::vector<CapacityPrice> capacities;       // of experts, in groups of at most Context::kBatchTokens; else empty
  std::vector<double> union_near, union_far;   // [Trace::union_sizes] share of the units that a batch needs together
  std::vector<double> head_norm;               // [n_head] mean norm of the head's output, before W_o
  Spread heads_99, heads_90;                   // share of the heads, as needed_99, of attention's output after W_o
  std::vector<HeadHabit> habits;               // [n_head] on the excerpt
  struct Addition {                            // X + F(X); medians over the tokens
    double stream = 0, branch = 0, ratio = 0;  // ||X||, ||F(X)||, ||F(X)|| / ||X||
  };
  Addition attention, mlp;
};

struct AttentionMap {
  HeadId id;
  HeadHabit habit;
  std::vector<float> weights;   // [n, n], n = Trace::excerpt.size(); row = query, column = key
  std::vector<uint32_t> heavy;  // keys that are heavy hitters
};

struct OraclePoint {
  double neurons = 1, heads = 1;            // density that was kept
  double perplexity = 0, kl = 0, top1 = 1;  // kl to dense, nats; share of positions with the same top token
};

struct Trace {
  size_t n_tokens = 0, n_windows = 0, n_ctx = 0;
  size_t n_sampled = 0;             // tokens of the sample: needed shares, unions
  std::vector<size_t> union_sizes;  // 1, 2, 4 ... 64, as far as the sample goes
  std::vector<LayerTrace> layers;
  std::vector<double> cosine;    // [n_layer + 1, n_layer + 1] mean similarity of the streams that enter two layers;
                                 // the last: the stream that leaves the model
  std::vector<int32_t> excerpt;  // ids of the first tokens, at most kExcerptTokens
  std::vector<AttentionMap> maps;
  size_t oracle_tokens = 0;  // scored
  double dense_perplexity = 0;
  std::vector<OraclePoint> oracle_neurons, oracle_heads, oracle_both;  // falling density, the first is dense
  std::string oracle_note;                                             // why there is no oracle, or ""

  double cosine_at(size_t a, size_t b) const { return cosine[a * (layers.size() + 1) + b]; }
};

constexpr size_t kExcerptTokens = 64;

// Runs `ids` through the model, window by window, each with an empty context. Memory: a few numbers per token and
// layer; sets of neurons as bits and only for a sample of at most 512 tokens, in runs of 64 consecutive ones that lie
// spread over the text; matrices of a batch of the sample. progress: "trace", then "oracle". Throws Error{kUsage} for
// fewer than two tokens or a head that is not there, Error{kFormat} where an activation is not finite,
// Error{kInterrupted}.
Trace trace_text(const Engine& engine, std::span<const int32_t> ids, const TraceOptions& options,
                 const Progress& progress = {});

}  // namespace hunch
