#include "compress/outlier_inputs.h"

#include <algorithm>
#include <cmath>

#include "compress/input_moments.h"

namespace hunch {
namespace {

using Maxima = std::map<std::pair<size_t, InputPart>, std::vector<float>>;

class Watch : public Observer {
 public:
  void on_attention_input(size_t layer, MatView<const float> x) override { add({layer, InputPart::kAttention}, x); }
  void on_heads(size_t layer, MatView<const float> x) override { add({layer, InputPart::kHeads}, x); }
  void on_mlp(const MlpPlace& place, MatView<const float> in, MatView<const float> act) override {
    if (!place.is_dense()) return;
    add({place.layer, InputPart::kMlp}, in);
    add({place.layer, InputPart::kNeurons}, act);
  }
  Maxima maxima;

 private:
  void add(std::pair<size_t, InputPart> key, MatView<const float> X) {
    std::vector<float>& most = maxima[key];
    most.resize(X.cols);
    for (size_t t = 0; t < X.rows; ++t)
      for (size_t c = 0; c < X.cols; ++c) most[c] = std::max(most[c], std::abs(X.row(t)[c]));
  }
};

InputPart part_of(Role role) {
  switch (role) {
    case Role::kHeads: return InputPart::kHeads;
    case Role::kGate:
    case Role::kUp: return InputPart::kMlp;
    case Role::kDown: return InputPart::kNeurons;
    default: return InputPart::kAttention;
  }
}

}  // namespace

OutlierInputs::OutlierInputs(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample,
                             float from) {
  BlockWalk walk(engine, ids, sample);
  Watch watch;
  for (size_t layer = 0; layer < engine.config().n_layer; ++layer) {
    walk.next();
    walk.compute(&watch);
  }
  for (const auto& [key, most] : watch.maxima)
    for (size_t c = 0; c < most.size(); ++c)
      if (most[c] >= from) outliers_[key].push_back(uint32_t(c));
}

std::span<const uint32_t> OutlierInputs::of(const LinearId& id) const {
  if (id.expert != LinearId::kNone || !InputMoments::covers(id.role)) return {};
  const auto found = outliers_.find({id.layer, part_of(id.role)});
  return found == outliers_.end() ? std::span<const uint32_t>() : found->second;
}

}  // namespace hunch
