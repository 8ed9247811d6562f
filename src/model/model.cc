#include "model/model.h"

#include <map>

#include "base/error.h"
#include "io/sparse_tensors.h"
#include "linear/adapted.h"
#include "model/architecture.h"

namespace hunch {

Model::Model(ModelFile file, const WeightOptions& options, Compute& compute)
    : file_(std::move(file)),
      config_(config_from_gguf(file_)),
      weights_(load_weights(file_, config_, options, compute)),
      ranks_(options.ranks) {
  if (ranks_) {
    whole_ = config_;
    for (const Layer& l : weights_.layers) config_.layers[l.config.index] = l.config;
  }
  for (size_t i = 0; i < config_.n_ropes(); ++i) ropes_.emplace_back(config_.rope_number(i), config_.n_ctx_train);
}

void Model::adapt(const Adapter& adapter) {
  weights_.for_each_linear([&](std::unique_ptr<Linear>& linear) {
    if (adapter.find(linear->id) && !dynamic_cast<const Adapted*>(linear.get()))
      linear = std::make_unique<Adapted>(std::move(linear));
  });
}

DType Model::main_dtype() const {
  std::map<DType, size_t> bytes;
  for (const Tensor& t : file_.tensors) bytes[dtype_of_weights(file_, t)] += t.data.size();
  DType best = DType::kF32;
  size_t most = 0;
  for (const auto& [dtype, n] : bytes)
    if (n > most) best = dtype, most = n;
  return best;
}

size_t Model::bytes_per_token() const {
  size_t bytes = 0;
  for (const auto* words : {&weights_.output, &weights_.words_in, &weights_.words_out, &weights_.per_layer.project})
    if (*words) bytes += (*words)->bytes();
  for (const auto* ends : {&weights_.streams.spread, &weights_.streams.merge})
    for (const auto& linear : *ends) bytes += linear->bytes();
  for (const Layer& l : weights_.layers)
    l.for_each_linear([&](const Linear& linear) {
      const Role role = linear.id.role;
      const bool routed = (role == Role::kGate || role == Role::kUp || role == Role::kDown) &&
                          linear.id.expert < LinearId::kShared;  // else a number of a head, or none
      const bool is_used = !routed || linear.id.expert < l.config.moe.n_expert_used;  // all experts are of one size
      if (is_used) bytes += linear.bytes();
    });
  return bytes;
}

void Model::measure_costs(Compute& compute, const Plan& plan, size_t n_tokens) const {
  if (n_tokens < 2) return;
  // The matrices of one product and shape, over all layers and experts.
  std::map<std::tuple<RowProduct, DType, size_t, size_t>, std::vector<WeightView>> like;
  const auto note = [&](RowProduct product, const WeightView& W) {
    if (W) like[{product, W.dtype, W.rows, W.cols}].push_back(W);
  };
  for (const Layer& l : weights_.layers) {
    const bool chosen = bool(plan.at(l.config.index, Point::kNeurons).selector);
    const bool live = bool(plan.at(l.config.index, Point::kLive).selector);
    const bool heads = bool(plan.at(l.config.index, Point::kHeads).selector);
    l.for_each_linear([&](const Linear& linear) {
      switch (linear.id.role) {
        case Role::kGate:
          if (chosen) note(RowProduct::kDot, linear.factor(Axis::kOut).rows());
          break;
        case Role::kUp:
          if (chosen || (live && l.config.gated)) note(RowProduct::kDot, linear.factor(Axis::kOut).rows());
          break;
        case Role::kDown:
          if (chosen || live) note(RowProduct::kAdd, linear.factor(Axis::kIn).by_input());
          break;
        case Role::kQuery:  // stands for all of attention
          if (heads) note(RowProduct::kDot, linear.factor(Axis::kOut).rows());
          break;
        default: break;
      }
    });
  }
  for (const auto& [key, matrices] : like) layouts().costs().measure(compute, std::get<0>(key), matrices, n_tokens);
}

}  // namespace hunch
