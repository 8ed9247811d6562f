// The tensors and metadata of a model's file without the units that go.
#pragma once
#include <map>

#include "compress/structured.h"
#include "io/gguf.h"

namespace hunch {

class StructuredFile {
 public:
  // Notes go to the report. All must outlive this.
  StructuredFile(const Engine& engine, const StructuredOptions& options, StructuredReport& report);

  // In the file's order, layers renumbered. Valid as long as this.
  std::vector<TensorToWrite> tensors();
  // With the widths of the layers that are left: one number where they are equal, else a list (llama.cpp's keys).
  Metadata metadata() const;

 private:
  // What stays of a tensor's rows and columns.
  struct Cut {
    std::vector<uint32_t> rows, cols;
    bool all_rows = true, all_cols = true;
    bool by_value = false;  // rows are values, however these lie: a vector of all heads may be [n_head, d_head]
    const std::vector<float>* bias = nullptr;  // in the place of the matrix' own, or new
    std::string bias_name;
  };
  void place(const Layer& layer);
  void cut_rows(const Linear& matrix, const std::vector<uint32_t>& units, size_t unit);
  void cut_cols(const Linear& matrix, const std::vector<uint32_t>& units, size_t unit, const std::vector<float>& bias);
  std::string new_name(const std::string& name) const;
  TensorToWrite written(const Tensor& tensor, const Cut& cut);
  std::span<const std::byte> produce(const Tensor& tensor, const Cut& cut, DType dtype);
  const LayerConfig& config(size_t layer) const { return engine_.config().layers[layer]; }

  const Engine& engine_;
  const StructuredOptions& options_;
  StructuredReport& report_;
  std::map<std::string, Cut> cuts_;                          // by the tensor's name in the file
  std::map<std::string, const std::vector<float>*> biases_;  // that are set anew, by name
  std::vector<size_t> numbers_;                              // of each layer, in the file that is written
  std::vector<std::byte> bytes_;                             // of what is being written
};

}  // namespace hunch
