// A sidecar of a model that is divided among ranks.
#include "base/error.h"
#include "model/model_parts.h"
#include "model/sidecar.h"

namespace hunch {
namespace {

// The patterns of the rank's heads.
std::shared_ptr<const PromptPatterns> part_of(const PromptPatterns& all, const ModelParts& parts) {
  std::vector<std::vector<PromptPattern>> heads = all.heads();
  for (size_t i = 0; i < heads.size(); ++i)
    if (const LayerCut& cut = parts.cut(i); cut.mixer) keep_part(heads[i], cut.kv_heads);
  auto own = std::make_shared<PromptPatterns>(std::move(heads));
  own->set_neurons(all.neurons());
  return own;
}

}  // namespace

Sidecar Sidecar::part(const ModelParts& parts) const {
  Sidecar own = *this;
  if (parts.is_whole()) return own;
  own.screen = nullptr;
  for (size_t i = 0; i < own.layers.size(); ++i) {
    const LayerCut& cut = parts.cut(i);
    SidecarLayer& l = own.layers[i];
    if (cut.mlp && l.family && !l.family->speaks_of_parts())
      fail(
          ErrorKind::kUnsupported,
          "the sidecar's method is {}, which compares all neurons of a layer: they are divided among ranks; divide the "
          "model by layers (--ranks pipeline), or run it without mpirun",
          l.family->kind());
    if (cut.mlp && l.neurons) {
      const Range neurons = parts.neurons(l.neurons->n_out());
      l.neurons = l.neurons->part(neurons.begin, neurons.n);
    }
    if (!cut.mixer) continue;
    if (l.heads.groups) l.heads.groups = l.heads.groups->part(cut.kv_heads.begin, cut.kv_heads.n);
  }
  if (prompts && !prompts->heads().empty()) own.prompts = part_of(*prompts, parts);
  return own;
}

}  // namespace hunch
