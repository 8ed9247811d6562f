// Which rows of a Hugging Face checkpoint's tensors a model's matrices and vectors came from.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "io/hf_folder.h"
#include "model/hf_trace.h"

namespace hunch {

// A row of a matrix of the model.
struct ModelRow {
  LinearId id;
  uint32_t row = 0;
};

class HfRows {
 public:
  // `folder`: what `engine` was opened from. Both must outlive this. Throws Error{kUnsupported} naming a matrix of
  // `roles` that is no matrix [n_out, n_in] of the checkpoint, unscaled: one that it stores turned, or several in one.
  HfRows(const Engine& engine, const HfFolder& folder, const std::function<bool(const LinearId&)>& chooses);

  // Of the checkpoint's matrices that chosen ones of the model make up: of each row which one it is.
  const std::map<std::string, std::vector<ModelRow>>& matrices() const { return matrices_; }
  // Names of the other matrices of layers, without ".weight".
  const std::vector<std::string>& other_modules() const { return others_; }

  // Numbers of vectors of the model's file, by their names there: where the checkpoint has them, and what it has less.
  struct Number {
    std::string tensor;
    uint32_t index = 0;
    float added = 0;  // by the import: 1 for norms that are stored as w and meant as 1 + w
  };
  // Of each number of the vector `tensor` of the file. Throws Error{kUnsupported} where any is not there as it is.
  std::vector<Number> numbers(const std::string& tensor) const;

 private:
  void place(const LinearId& id, const TensorRows& where);
  void check_values() const;

  const Engine& engine_;
  const HfFolder& folder_;
  std::vector<NamedRows> named_;
  std::vector<const Tensor*> stored_;  // the tensors of these names
  RowTrace trace_;
  std::map<std::string, std::vector<ModelRow>> matrices_;
  std::vector<std::string> others_;
};

}  // namespace hunch
