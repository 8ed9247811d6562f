// The tensors of a model's file with pairs in the place of matrices.
#pragma once
#include <map>

#include "compress/low_rank_walk.h"
#include "io/gguf.h"

namespace hunch {

class LowRankFile {
 public:
  // What is written is told to `report`. All must outlive this.
  LowRankFile(const Engine& engine, LowRankWalk& walk, LowRankReport& report);

  // Everything that is in the model's file, layer by layer, since the walk does not turn back: a tensor that held a
  // matrix of several (q, k and v; gate and up) becomes as many. Valid as long as this.
  std::vector<TensorToWrite> tensors();

 private:
  // A matrix, or that of all experts of a layer.
  struct Part {
    std::string name;
    std::vector<const Linear*> matrices;
    std::vector<size_t> pairs;  // their places among the layer's; none: they stay as they are
  };

  void place(const Layer& layer);
  void add(size_t order, TensorToWrite tensor);
  void add(const Part& part);
  bool is_bias_of_split(const Tensor& tensor) const;
  std::span<const std::byte> factor(const Part& part, bool is_u);
  void note(const Linear& matrix, const LowRankPair& pair);

  const ModelFile& file_;
  LowRankWalk& walk_;
  LowRankReport& report_;
  std::map<const Tensor*, std::vector<Part>> parts_;   // by the tensor that they replace
  std::vector<std::pair<size_t, TensorToWrite>> out_;  // and its layer + 1; 0: of no layer
  std::vector<std::byte> bytes_;                       // of what is being written
};

}  // namespace hunch
