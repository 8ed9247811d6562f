// `hunch compress --method structured`: a model with fewer neurons, heads and layers, dense as before and so much
// faster.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"

namespace hunch {

struct StructuredOptions {
  double sparsity = 0;   // share of the parameters of attention and MLPs that goes; 0: no units, only layers
  size_t n_dropped = 0;  // whole layers that go, those that change the stream least
  bool uniform = false;  // the same share of every layer, so that layers stay equal
  size_t multiple = 32;  // MLPs keep a multiple of so many neurons, or all
  bool heads = true, neurons = true;
  bool compensate = true;  // what units gave in the mean becomes a bias of the matrix that they fed
  size_t n_tokens = 16384;
  std::string text_name;
};

// What stays of one of the model's layers; ids ascending.
struct KeptUnits {
  bool dropped = false;
  std::vector<uint32_t> groups, neurons;     // key heads with the query heads that share them; neurons of a dense MLP
  size_t n_groups = 0, n_neurons = 0;        // that the layer had; 0: it has no such block
  std::vector<float> heads_bias, down_bias;  // [n_embd] of W_o and the down projection; empty: as they were

  bool cuts_groups() const { return groups.size() < n_groups; }
  bool cuts_neurons() const { return neurons.size() < n_neurons; }
};

struct StructuredReport {
  std::vector<KeptUnits> layers;  // of the model that was read
  std::vector<double> influence;  // of each: 1 - cos of the stream before and behind it, mean over tokens
  size_t n_tokens = 0;            // of the text that were used
  uint64_t n_weights_before = 0, n_weights = 0;  // of the layers' matrices
  uint64_t bytes_before = 0, bytes = 0;          // of all tensors
  std::vector<std::string> notes;
};

// Scores are those of FLAP (An et al. 2023, arXiv:2312.11983): of a channel that W_o or the down projection reads, its
// variance on the text times the squared norm of its column, standardised in each layer; of a group of heads the mean
// of its channels. Units are chosen from all layers together, by score and by what they cost. Layers: Men et al. 2024
// (ShortGPT, arXiv:2403.03853). The model is walked through twice: as it is, for the scores; then as it will be, for
// the biases. Matrices lose rows as they are stored; where they lose columns, quantised ones are encoded anew.
//
// Throws Error{kUsage} for budgets that cannot be met, Error{kUnsupported} for models with experts (but for `heads`
// alone), of other forms than plain blocks, or whose layers are of several kinds (n_dropped); as compress_weights()
// besides.
StructuredReport prune_structured(const Engine& engine, std::span<const int32_t> ids, const StructuredOptions& options,
                                  const std::filesystem::path& output, const Progress& progress = {});

// Whether a layer's heads, or neurons, can go without changing what the others compute.
bool can_cut_groups(const LayerConfig& layer);
bool can_cut_neurons(const LayerConfig& layer);

}  // namespace hunch
