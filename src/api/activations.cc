// What tokens activate.
#include "hunch/activations.h"

#include <cstring>

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "measure/activation_trace.h"

namespace hunch {
namespace {

LayerActivations layer_of(const LayerConfig& config, ActivationTrace::Layer&& seen) {
  LayerActivations out;
  out.n_ff = config.has_experts() ? 0 : config.n_ff;
  out.n_kv_head = config.n_kv_head;
  out.n_head = config.n_head;
  out.n_expert = config.has_experts() ? config.moe.n_expert : 0;
  static_assert(sizeof(f16) == sizeof(uint16_t));
  out.activations.resize(seen.activations.size());
  if (!seen.activations.empty())
    std::memcpy(out.activations.data(), seen.activations.data(), seen.activations.size() * sizeof(f16));
  seen.activations = {};
  out.neurons = std::move(seen.neurons);
  out.head_groups = std::move(seen.groups);
  out.head_norms = std::move(seen.head_norms);
  out.router = std::move(seen.router);
  return out;
}

}  // namespace

Activations activations(LanguageModel& model, std::span<const int32_t> ids, const ActivationOptions& options) {
  ModelImpl& impl = *impl_of(model);
  if (ids.empty()) fail(ErrorKind::kUsage, "a text without tokens, expected at least one");
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  ContextOptions own = impl.context_options(choice_of(options), ids.size());
  own.decodes_all = true;
  ActivationTrace trace(impl.engine.config(), ids.size());
  Context context(impl.engine, own);
  context.set_observer(&trace);
  context.append_all(
      ids, [](size_t, MatView<const float>) {}, ids.size() - 1);  // as decoding would, unlike append()
  Activations out;
  out.n_tokens = ids.size();
  std::vector<ActivationTrace::Layer> layers = trace.take_layers();
  for (size_t l = 0; l < layers.size(); ++l)
    out.layers.push_back(layer_of(impl.engine.config().layers[l], std::move(layers[l])));
  return out;
}

}  // namespace hunch
