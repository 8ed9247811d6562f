#include "measure/model_size.h"

namespace hunch {

ModelSize size_of(const Engine& engine, const std::filesystem::path& path) {
  const ModelWeights& weights = std::as_const(*engine.model).weights();
  ModelSize size;
  weights.for_each_linear([&](const Linear& w) { size.n_weights += uint64_t{w.n_out} * w.n_in; });
  // One matrix may be both embedding and head.
  const auto head = weights.tensors.find({.role = Role::kLogits}),
             words = weights.tensors.find({.role = Role::kEmbedding});
  if (head == weights.tensors.end() || words == weights.tensors.end() || head->second.stored != words->second.stored)
    size.n_weights += uint64_t{weights.token_embd.rows} * weights.token_embd.cols;
  if (engine.config().position == PositionKind::kLearned) size.n_weights += weights.position_embd.size();
  size.n_weights += weights.type_embd.size() + uint64_t{weights.per_layer.table.rows} * weights.per_layer.table.cols;
  for (const Tensor& t : engine.model->file().tensors) {
    size.tensor_bytes += t.data.size();
    if (t.shape.size() == 1 && t.name.find(".int8_") == std::string::npos) size.n_weights += t.n_elems();
  }
  std::error_code ec;
  size.file_bytes = std::filesystem::is_regular_file(path, ec) ? std::filesystem::file_size(path, ec) : 0;
  if (size.file_bytes == 0 || ec) size.file_bytes = size.tensor_bytes;
  return size;
}

}  // namespace hunch
