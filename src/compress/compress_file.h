// The tensors of a model's file with compressed matrices in the place of its own.
#pragma once
#include <map>
#include <set>

#include "compress/compress_walk.h"
#include "io/gguf.h"

namespace hunch {

class CompressFile {
 public:
  // What is written is told to `report`. All must outlive this.
  CompressFile(const Engine& engine, CompressWalk& walk, const CompressOptions& options, CompressReport& report);

  // Everything that is in the model's file under its converter's names, layer by layer, since the walk does not turn
  // back. A tensor of several matrices of which some are chosen has the others rounded to the nearest of its type.
  // Valid as long as this.
  std::vector<TensorToWrite> tensors();

 private:
  // A tensor with matrices that are chosen.
  struct Home {
    TensorRows where;  // of the first
    BlockTarget target;
    std::vector<const Linear*> matrices;
  };
  void place();
  // What stands beside codes of int8 (io/int8_tensor.h).
  std::vector<TensorToWrite> beside(const Home& home);
  std::span<const std::byte> scales_of(const Home& home);
  std::span<const std::byte> input_scales_of(const Home& home);
  std::span<const std::byte> outlier_weights_of(const Home& home);
  // each(matrix, its first row, codes, what is beside them); `note`: tell the report.
  template <class Each>
  void for_int8(const Home& home, const Each& each);
  TensorToWrite written(const Tensor& tensor, const Home& home);
  std::span<const std::byte> rows_of(const Home& home);
  std::span<const std::byte> vector_of(const Tensor& tensor, size_t layer);
  const Engine& engine_;
  const ModelFile& file_;
  CompressWalk& walk_;
  const CompressOptions& options_;
  CompressReport& report_;
  std::map<std::string, Home> homes_;  // by the tensor's name in the file
  std::set<size_t> short_rows_;        // that were noted
  std::vector<std::byte> bytes_;       // of what is being written
};

// Tells the report what became of a matrix, whose numbers take so many bytes in the file.
void note_matrix(const Linear& matrix, const CompressedMatrix& compressed, uint64_t bytes, CompressReport& report);

// Whether scales may be folded into a tensor of the model's file: norms and biases of layers.
bool takes_scales(const std::string& tensor);

}  // namespace hunch
