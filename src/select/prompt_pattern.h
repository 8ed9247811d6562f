// Which keys a prompt's queries read: everything, or a pattern whose blocks the kernels skip the rest of.
// Source: Jiang et al. 2024, "MInference 1.0" (arXiv:2407.02490), section 3.2 and algorithms 2 to 4.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

enum class PatternKind : uint8_t {
  kDense,          // every key
  kAShape,         // the first tokens and those just before a query
  kVerticalSlash,  // the keys, and the distances from a query, that the last queries of a chunk look at most
  kBlocks,         // the blocks of keys whose mean key suits the mean query of a block best
};

// One head's (of those that share keys: all of them). A query reads `budget` keys and, where its block needs them, up
// to kQueryBlock - 1 more: the queries of a block read the same keys, as far as they come before them.
struct PromptPattern {
  static constexpr size_t kQueryBlock = 64;  // tokens, counted from the text's beginning
  static constexpr size_t kLocal = 64;       // distances that vertical-slash always reads

  PatternKind kind = PatternKind::kDense;
  size_t budget = 0;       // 0: dense
  size_t sinks = 64;       // first tokens, always read; of a-shape and vertical-slash
  double verticals = 0.5;  // of vertical-slash: the share of the budget that is keys; the rest is distances
  size_t queries = 16;     // of vertical-slash: a chunk's last queries, which choose

  bool operator==(const PromptPattern&) const = default;
  // Whether the choice depends on the queries, and so on where a prompt is cut.
  bool chooses() const { return kind == PatternKind::kVerticalSlash || kind == PatternKind::kBlocks; }
};

// "dense", "a-shape:1024,sinks=64", "vertical-slash:1024,verticals=0.5,queries=16", "blocks:1024". Throws Error{kUsage}
// naming what was expected.
PromptPattern prompt_pattern_from(std::string_view text);
// As prompt_pattern_from() reads it, all options said.
std::string name_of(const PromptPattern& pattern);
// Whether what prompts read begins like this: "a-shape", "neurons".
bool is_prompt_pattern(std::string_view name);
std::string prompt_pattern_help();  // examples of all that read less

// Those of a model.
class PromptPatterns {
 public:
  // The same for every head of every layer.
  explicit PromptPatterns(PromptPattern all) : all_(all) {}
  // [n_layer][n_kv_head]; a layer without a list is dense.
  explicit PromptPatterns(std::vector<std::vector<PromptPattern>> heads) : heads_(std::move(heads)) {}

  // Of a layer's neurons, the share that a block of a prompt's tokens computes (select/prompt_neurons.h); 1: all. One
  // for all layers, or [n_layer].
  void set_neurons(std::vector<double> shares) { neurons_ = std::move(shares); }
  const std::vector<double>& neurons() const { return neurons_; }  // empty: all of all
  double neurons(size_t layer) const;
  bool thins() const;  // any layer's

  const PromptPattern& at(size_t layer, size_t kv_head) const;
  const std::vector<std::vector<PromptPattern>>& heads() const { return heads_; }  // empty: all alike
  bool chooses() const;                                                            // any of them does, or neurons
  // Whether any head of the layer reads less than everything of a text of so many tokens.
  bool restricts(size_t layer, size_t n_kv_head, size_t n_tokens) const;

 private:
  PromptPattern all_;
  std::vector<std::vector<PromptPattern>> heads_;
  std::vector<double> neurons_;
};

// A pattern for all heads, or a share of the neurons, or both: "a-shape:1024", "neurons:0.5",
// "vertical-slash:1024,neurons=0.5". Throws Error{kUsage}.
PromptPatterns prompt_patterns_from(std::string_view text);

}  // namespace hunch
