#include "cli/method_note.h"

#include "base/error.h"

namespace hunch::cli {

std::string describe_method(const Engine& engine) {
  const SmoothMethod method = engine.sidecar->method();
  if (method == SmoothMethod::kNone) return "";
  const LayerWeights& l = engine.model->weights().layers[0];
  const bool plain = is_plain(l.mlp.up.W.dtype);
  const bool whole_down = !l.mlp.W_down_t && l.mlp.down.W && !is_plain(l.mlp.down.W.dtype);
  std::string text = fmt::format("sparse mode is {}", name_of(method));
  if (method == SmoothMethod::kGriffin)
    text += fmt::format(
        ": a prompt of {} tokens or more chooses the neurons of the answer; after a shorter one all are computed",
        PromptNeurons::kMinTokens);
  if (method == SmoothMethod::kTeal) {
    const double bytes = double(ColumnWeights::bytes_needed(engine.model->weights(), ColumnParts::kAll));
    if (plain)
      return text + fmt::format(", on copies of the projections stored by input, {:.0f} MB more memory", bytes / 1e6);
    return text + fmt::format(
                      ": the weights are {}, in blocks that cannot be turned without rounding anew; small inputs count "
                      "as zero, but every weight is "
                      "read: no faster than dense",
                      name_of(l.mlp.up.W.dtype));
  }
  if (whole_down)
    text += fmt::format(
        "; the down projection is {} in rows and is read whole (`hunch quantize --layout neuron` stores it by neuron)",
        name_of(l.mlp.down.W.dtype));
  return text;
}

}  // namespace hunch::cli
