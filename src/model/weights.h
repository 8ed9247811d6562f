// The weights of a model: layers of matrices in the forms that compute them, small vectors decoded to f32.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/disk_reader.h"
#include "io/model_file.h"
#include "linear/layouts.h"
#include "model/adaptive_softmax.h"
#include "model/hold_exactly.h"
#include "model/layer.h"
#include "model/model_parts.h"
#include "model/rank_head.h"

namespace hunch {

class WeightDisk;  // linear/weight_disk.h

// What is done with a down projection whose ReLU zeros could be skipped if it were neuron-major.
enum class DownLayout : uint8_t {
  kNone,        // the activation is never exactly zero: nothing to skip
  kTransposed,  // f32 / f16 / bf16, transposed at load without loss; or stored neuron-major in the file
  kKept,        // quantised along n_ff in the file: kept, dense
  kReblocked,   // decoded, transposed and re-encoded as Q8_0 along n_embd, on request
};

// Where the file keeps a matrix [n_out, n_in]: rows of a tensor, of which experts are stacked one after the other.
struct TensorRows {
  std::string name;    // as converters call the tensor, also where the file has it by neuron or does without
  std::string stored;  // the file's tensor: "..._t.weight" by neuron, the embedding where the output is tied to it,
                       // none where the matrix is a product of two, or stands there in another form
  size_t first = 0;    // row of the tensor that `name` is, also where the file has it by neuron
  size_t n_out = 0, n_in = 0;
  bool by_input = false;  // the file's tensor is [n_in, n_out], of experts one after the other
  size_t first_input() const { return first / n_out * n_in; }  // its row there
};

struct ModelWeights {
  std::unique_ptr<Layouts> layouts = std::make_unique<Layouts>();  // owns copies; outlives the matrices
  std::shared_ptr<WeightDisk> disk;  // of a model that is larger than the memory for it; likewise
  WeightView token_embd;             // [n_vocab, n_embd_word]
  Vector position_embd;              // [n_ctx_train * n_embd] learned or sinusoidal
  Vector type_embd;                  // [n_types * n_embd] added by text of a pair, or none
  NormWeights embd_norm, output_norm;
  PerLayerEmbedding per_layer;
  AltUpEnds streams;
  std::unique_ptr<Linear> words_in, words_out;  // OPT-350m: n_embd_word to n_embd and back
  std::unique_ptr<Linear> output;               // [n_vocab, n_embd_word]; the token embedding where tied; or none
  AdaptiveSoftmax adaptive;                     // of a vocabulary in clusters
  RankHead rank_head;                           // of a model that scores pairs of texts
  std::vector<Layer> layers;
  std::map<LinearId, TensorRows> tensors;  // of every matrix, and of the embedding
  ModelParts parts;                        // of these matrices, that are this rank's
  DownLayout down_layout = DownLayout::kNone;
  size_t n_params = 0;
  size_t bytes = 0;                                 // of all tensors, as they are held
  HeldOtherwise held;                               // those that are not held as the file has them
  std::vector<std::shared_ptr<const void>> owners;  // of what these are views of

  // Some layer's Layer::any_mlp(), whose matrices stand for those of all where types are told.
  const Mlp& any_mlp() const;
  // each(std::unique_ptr<Linear>&) for every matrix of the model.
  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&words_in, &words_out, &output, &per_layer.project})
      if (*linear) each(*linear);
    for (auto* ends : {&streams.spread, &streams.merge})
      for (std::unique_ptr<Linear>& linear : *ends) each(linear);
    for (Layer& l : layers) l.for_each_linear(each);
  }
  template <class Each>
  void for_each_linear(const Each& each) const {
    const_cast<ModelWeights*>(this)->for_each_linear(
        [&](std::unique_ptr<Linear>& linear) { each(std::as_const(*linear)); });
  }
};

class Ranks;  // model/ranks.h

// What of the weights stays in memory, where they may not take all that they are (docs/larger-than-memory.md).
struct DiskOptions {
  uint64_t n_bytes = 0;                                      // that the weights may take
  std::vector<std::filesystem::path> files;                  // of ModelFile::maps
  std::filesystem::path bundles;                             // model/bundles.h; empty: none
  std::function<std::unique_ptr<DiskReader>()> reader = {};  // empty: make_disk_reader()
};

struct WeightOptions {
  bool reblock_down = false;  // allow DownLayout::kReblocked
  Ranks* ranks = nullptr;     // among which the model is divided (model/shard.h), and outlive it; none: it is whole
  const DiskOptions* disk = nullptr;  // none: all are mapped
};

// Finds every tensor by its GGUF name and checks its shape against the config; transposes and
// re-blocks in parallel. Views live as long as `file`'s owners. Throws Error{kNotFound | kFormat |
// kUnsupported | kMemory} naming tensor, expected and found.
ModelWeights load_weights(const ModelFile& file, const ModelConfig& config, const WeightOptions& options,
                          Compute& compute);

}  // namespace hunch
