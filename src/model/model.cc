#include "model/model.h"

#include <map>

#include "base/error.h"
#include "base/memory_info.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig config_of(const ModelFile& file) {
  const std::string arch = file.meta.get_string("general.architecture");
  ModelConfig config = architecture_by_gguf_name(arch).config_from_gguf(file);
  validate(config);
  return config;
}

void check_memory(const ModelFile& file, const ModelConfig& config, const WeightOptions& options) {
  require_memory(extra_weight_bytes(file, config, options), "storing the down projections by neuron");
}

size_t bytes_of(const Linear& l) { return l.W ? l.W.bytes() : 0; }

size_t bytes_of(const MlpWeights& m) {
  return bytes_of(m.up) + bytes_of(m.gate) + bytes_of(m.down) + (m.W_down_t ? m.W_down_t.bytes() : 0);
}

}  // namespace

Model::Model(ModelFile file, const WeightOptions& options, Compute& compute)
    : file_(std::move(file)),
      config_(config_of(file_)),
      weights_((check_memory(file_, config_, options), load_weights(file_, config_, options, compute))),
      rope_(config_.rope, config_.n_ctx_train) {}

DType Model::main_dtype() const {
  std::map<DType, size_t> bytes;
  for (const Tensor& t : file_.tensors) bytes[t.dtype] += t.data.size();
  DType best = DType::kF32;
  size_t most = 0;
  for (const auto& [dtype, n] : bytes)
    if (n > most) best = dtype, most = n;
  return best;
}

size_t Model::bytes_per_token() const {
  size_t bytes = bytes_of(weights_.output) + bytes_of(weights_.proj_in) + bytes_of(weights_.proj_out);
  for (const LayerWeights& l : weights_.layers) {
    bytes += bytes_of(l.q) + bytes_of(l.k) + bytes_of(l.v) + bytes_of(l.o) + bytes_of(l.router);
    bytes += bytes_of(l.mlp) + bytes_of(l.shared_expert) + bytes_of(l.shared_gate);
    if (!l.experts.empty()) bytes += bytes_of(l.experts[0]) * config_.moe.n_expert_used;
  }
  return bytes;
}

}  // namespace hunch
