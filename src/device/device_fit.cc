#include "device/device_fit.h"

#include <algorithm>

#include "device/put_weights.h"
#include "device/step_buffers.h"
#include "model/transformer.h"

namespace hunch {

uint64_t bytes_on_device(const Model& model, size_t n_layers, size_t n_ctx) {
  const ModelConfig& c = model.config();
  const size_t first_layer = c.n_layer - n_layers;
  const KvShape shape = Transformer::kv_shape(c, DType::kF16);
  const size_t n_pages = (n_ctx + shape.page_tokens - 1) / shape.page_tokens;
  const DeviceKv kv{.n_pages = n_pages, .page_tokens = shape.page_tokens, .half = true};
  const uint64_t bytes = weight_bytes_on_device(model, first_layer) +
                         StepBuffers::bytes(c, first_layer, n_pages * shape.page_tokens) +
                         n_pages * kv.page_bytes(c, first_layer);
  constexpr uint64_t kMostSlack = uint64_t{1} << 27;
  return bytes + std::min(kMostSlack, bytes / 4);  // memory is taken in blocks (vulkan/memory.h)
}

double neurons_that_fit(const Model& model, size_t n_layers, uint64_t bytes, size_t n_ctx) {
  uint64_t mlp_bytes = 0;
  for (const Layer& layer : std::span(model.weights().layers).last(n_layers))
    for (const auto* linear : {&layer.mlp.gate, &layer.mlp.up, &layer.mlp.down})
      if (*linear) mlp_bytes += (*linear)->bytes();
  const double others = double(bytes_on_device(model, n_layers, n_ctx)) - double(mlp_bytes);
  return std::min(1.0, (double(bytes) - others) / double(std::max<uint64_t>(mlp_bytes, 1)));
}

size_t layers_that_fit(const Model& model, uint64_t bytes, size_t n_ctx) {
  size_t n = model.config().n_layer;
  while (n > 0 && bytes_on_device(model, n, n_ctx) > bytes) --n;
  return n;
}

}  // namespace hunch
