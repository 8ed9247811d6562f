#include "cli/method_note.h"

#include "base/error.h"

namespace hunch::cli {

std::string describe_method(const Engine& engine) {
  const SelectorFamily* family = engine.sidecar->family();
  if (!family) return "";
  const Mlp& mlp = engine.model->weights().any_mlp();
  const Linear &up = mlp.up->factor(Axis::kIn), &down = mlp.down->factor(Axis::kIn);  // where inputs are left out
  const bool plain = is_plain(up.rows().dtype);
  const bool whole_down = !down.by_input() && !is_plain(down.rows().dtype);
  std::string text = fmt::format("sparse mode is {}", family->describe());
  if (engine.sidecar->plan(engine.config()).uses(Point::kInputs)) {
    double bytes = 0;
    for (const Layer& layer : engine.model->weights().layers)
      layer.for_each_linear([&](const Linear& linear) {
        const Linear& turned = linear.factor(Axis::kIn);
        bytes += turned.by_input() ? 0.0 : double(turned.bytes());
      });
    if (plain)
      return text + fmt::format(", on copies of the projections stored by input, {:.0f} MB more memory", bytes / 1e6);
    return text + fmt::format(
                      ": the weights are {}, in blocks that cannot be turned without rounding anew; small inputs count "
                      "as zero, but every weight is "
                      "read: no faster than dense",
                      name_of(up.rows().dtype));
  }
  if (whole_down)
    text += fmt::format(
        "; the down projection is {} in rows and is read whole (`hunch quantize --layout neuron` stores it by neuron)",
        name_of(down.rows().dtype));
  return text;
}

}  // namespace hunch::cli
