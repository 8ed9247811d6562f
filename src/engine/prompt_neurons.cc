#include "engine/prompt_neurons.h"

#include <algorithm>
#include <cmath>

namespace hunch {

void PromptNeurons::truncated(size_t n_tokens) {
  if (n_tokens < n_observed_) reset();
}

void PromptNeurons::reset() {
  for (PromptStatistic& s : statistics_) s.clear();
  n_observed_ = 0;
  packed_for_.clear();
}

const PackedMlps* PromptNeurons::packed(const Model& model, const SparsePlan& plan, Compute& compute) {
  std::vector<size_t> wanted;
  bool any = false;
  for (size_t l = 0; l < statistics_.size(); ++l) {
    const SmoothLayerPlan& p = plan.layers[l].smooth;
    const size_t n_ff = model.weights().layers[l].mlp.n_ff;
    const bool chosen = p.method == SmoothMethod::kGriffin && statistics_[l].n_tokens() >= kMinTokens;
    any = any || chosen;
    wanted.push_back(statistics_[l].n_tokens());
    wanted.push_back(
        chosen ? std::min(n_ff, std::max<size_t>(1, size_t(std::ceil(double(p.density) * double(n_ff) - 1e-6))))
               : n_ff);
  }
  if (!any) return nullptr;
  if (wanted == packed_for_) return &packed_;
  packed_for_.clear();
  std::vector<Rows> kept(statistics_.size());
  for (size_t l = 0; l < kept.size(); ++l) {
    const size_t n_ff = model.weights().layers[l].mlp.n_ff, k = wanted[2 * l + 1];
    if (k < n_ff) {
      statistics_[l].select(k, kept[l]);
    } else {
      kept[l] = Rows::all(n_ff);
    }
  }
  packed_.pack(model.weights(), kept, compute);
  packed_for_ = std::move(wanted);
  return &packed_;
}

}  // namespace hunch
