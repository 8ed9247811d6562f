// Some of the layers by themselves, for who calibrates a block at a time.
#include "base/error.h"
#include "model/ops.h"
#include "model/transformer.h"

namespace hunch {

MatView<const float> Transformer::run_blocks(const StepInput& input, size_t first, size_t end,
                                             MatView<const float> stream) {
  const ModelConfig& c = model_.config();
  HUNCH_CHECK(first <= end && end <= c.n_layer &&
              (!stream.data || (stream.rows == input.ids.size() && stream.cols == c.stream_width())));
  if (model_.ranks())
    fail(ErrorKind::kUnsupported,
         "a model that is divided among ranks is not gone through block by block; run it without mpirun");
  for (size_t i = first; i < end; ++i)
    if (const size_t from = c.layers[i].keys_from; from < first)
      fail(ErrorKind::kUnsupported,
           "layer {} reads the keys of layer {}, so that it cannot be computed without it: methods that go through the "
           "layers one at a time do not run on this model",
           i, from);
  if (device_)
    fail(ErrorKind::kUnsupported, "a model is calibrated a layer at a time on the processor, not on a device (device)");
  const MatView<float> resid = result(input.ids.size(), c.stream_width());
  in_step(input, [&](Step& s) {
    if (!stream.data || model_.weights().per_layer.n > 0) enter(s, resid);
    if (stream.data) copy_rows(stream, resid);
    layers(s, first, end, resid);
  });
  return resid;
}

}  // namespace hunch
