// One text, several ways to compute the model: what each costs and what it changes.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/drafting.h"
#include "measure/perplexity.h"

namespace hunch {

// KL(softmax(a) || softmax(b)) in nats, a and b [n_vocab] logits; never negative.
double kl_divergence(std::span<const float> a, std::span<const float> b);

struct CompareMode {
  std::string name;  // "dense", "exact", "oracle 20%"
  ContextOptions context;
  bool lossless = false;  // `drafting` speeds `context` up
  DraftingOptions drafting;
  const Engine* engine = nullptr;  // of another model with the same vocabulary; none: the one that is asked about
  // A sidecar of the model, whose plan at `context.density` (0: as calibrated) it is; load_plans() opens it.
  std::filesystem::path sidecar = {};
  // Another model by its name or path, which whoever compares opens and gives as `engine`; none: it is no other
  // model's.
  std::string model = {};
};

// Gives the modes of sidecars their plans; each file is opened once, and the weights are shared. Throws as
// Engine::load_sidecar() and Sidecar::plan().
void load_plans(const Engine& engine, std::span<CompareMode> modes);

struct CompareRow {
  std::string name;
  double perplexity = 0, nll_stderr = 0;  // and the standard error of its logarithm, the mean over tokens of -log p
  double kl = 0;                          // mean over tokens of KL(dense || mode), nats
  double nll_delta = 0,
         nll_delta_stderr = 0;                // mean over tokens of -log p less the reference's, and its standard error
  double top1 = 1;                            // share of positions where both prefer the same token
  double density_mlp = 1, density_heads = 1;  // computed share of neurons and heads, mean over layers
  std::vector<double> density_per_layer;      // neurons
  double kv_bytes_per_token = 0;              // the cache's part of the next
  PageReads pages;                            // of the decoded tokens, where pages of keys are chosen
  double bytes_per_token = 0;  // weight and KV bytes that decoding one token touched (counted, not estimated)
  // What of these each rank touched, where the model is divided among several (model/ranks.h); drafts count as none.
  std::vector<double> rank_bytes_per_token;
  double tokens_per_s = 0;                     // decoding, one token at a time
  double tokens_per_pass = 1, acceptance = 0;  // of drafts; lossless only
  bool lossless = false;
  bool speed_is_real = true;  // false for the oracle, whose first pass is not counted
};

struct CompareOptions {
  WindowOptions windows;
  size_t n_decode = 64;  // tokens decoded for speed and bytes, after a prompt from the text
  size_t n_repeats = 3;  // modes alternate; the median is reported
};

// The first mode is the reference (dense). Throws Error{kUsage} for a mode whose model has another vocabulary,
// Error{kFormat} where a probability is no number (engine/not_finite.h). Quality is measured on the text's windows, all
// modes on the same tokens; speed by decoding the text's own tokens one at a time, modes alternating. A lossless mode
// has the quality of its context; for its speed it continues the same prompt greedily in its own words.
std::vector<CompareRow> compare_modes(const Engine& engine, std::span<const CompareMode> modes,
                                      std::span<const int32_t> ids, const CompareOptions& options,
                                      const Progress& progress = {});

}  // namespace hunch
