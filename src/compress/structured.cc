#include "compress/structured.h"

#include "base/error.h"
#include "compress/compress_options.h"
#include "compress/structured_file.h"
#include "compress/structured_walk.h"

namespace hunch {
namespace {

// What the forward pass knows of a layer besides how wide it is.
bool is_alike(const LayerConfig& a, const LayerConfig& b) {
  return a.mixer == b.mixer && a.window == b.window && a.rotates == b.rotates && a.rope == b.rope &&
         a.d_head == b.d_head && a.has_experts() == b.has_experts() && a.gate_cutoff == b.gate_cutoff &&
         a.keys_as_values == b.keys_as_values && a.has_mlp() == b.has_mlp();
}

void check_layers(const ModelConfig& config, const StructuredOptions& options) {
  if (options.n_dropped == 0) return;
  if (options.n_dropped >= config.n_layer)
    fail(ErrorKind::kUsage, "{} layers of {} (layers): at least one stays", options.n_dropped, config.n_layer);
  if (config.n_streams > 1 || config.n_per_layer > 0 || config.n_borrowing > 0)
    fail(ErrorKind::kUnsupported, "layers of this model work together: none of them goes by itself");
  for (const LayerConfig& l : config.layers)
    if (!is_alike(l, config.layers[0]))
      fail(ErrorKind::kUnsupported,
           "layer {} is of another kind than layer 0, and the file says which is which by their numbers: whole layers "
           "do "
           "not go",
           l.index);
}

void check(const Engine& engine, std::span<const int32_t> ids, const StructuredOptions& options) {
  const ModelConfig& config = engine.config();
  if (options.sparsity == 0 && options.n_dropped == 0)
    fail(ErrorKind::kUsage, "how much? a sparsity (sparsity) of the parameters, or a number of layers (layers)");
  if (!(options.sparsity >= 0 && options.sparsity < 1))
    fail(ErrorKind::kUsage, "a sparsity of {} (sparsity): expected more than 0 and less than 1", options.sparsity);
  if (options.multiple == 0) fail(ErrorKind::kUsage, "a multiple of 0 neurons (multiple): expected 1 or more");
  if (ids.size() < kMinCompressTokens || options.n_tokens < kMinCompressTokens)
    fail(ErrorKind::kUsage, "the text has {} tokens, of which {} are asked for; at least {} are needed", ids.size(),
         options.n_tokens, kMinCompressTokens);
  check_layers(config, options);
  for (const Layer& layer : std::as_const(*engine.model).weights().layers) {
    if (options.sparsity > 0 && options.neurons && layer.config.has_experts())
      fail(
          ErrorKind::kUnsupported,
          "layer {} has {} experts, whose width is one number for the whole model: neurons of experts do not go; heads "
          "alone do (only q,k,v,o)",
          layer.config.index, layer.config.moe.n_expert);
    layer.for_each_linear([&](const Linear& w) {
      if (!w.made_into().empty())
        fail(ErrorKind::kUnsupported, "{} of layer {} is {}: prune the model that this one was made from",
             name_of(w.id.role), w.id.layer, w.made_into());
    });
  }
}

}  // namespace

// ALiBi's slopes are of the number of heads.
bool can_cut_groups(const LayerConfig& layer) { return can_choose_heads(layer) && layer.alibi_slopes.empty(); }

bool can_cut_neurons(const LayerConfig& layer) {
  return layer.n_ff > 0 && !layer.has_experts() && !layer.sub_norms && !(layer.gate_cutoff > -INFINITY);
}

StructuredReport prune_structured(const Engine& engine, std::span<const int32_t> ids, const StructuredOptions& options,
                                  const std::filesystem::path& output, const Progress& progress) {
  check(engine, ids, options);
  StructuredReport report;
  StructuredWalk(engine, ids, options, progress).run(report);
  StructuredFile file(engine, options, report);
  const std::vector<TensorToWrite> tensors = file.tensors();
  write_gguf(output, file.metadata(), tensors, {}, engine.compute->stop);
  return report;
}

}  // namespace hunch
