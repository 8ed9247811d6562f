#include "synth/sidecar.h"

#include <cmath>

#include "base/checked_math.h"
#include "base/error.h"
#include "formats/format.h"
#include "io/file_types.h"
#include "model/fingerprint.h"
#include "select/linear_predictor.h"
#include "select/low_rank_predictor.h"
#include "synth/plant.h"
#include "synth/planted_rows.h"

namespace hunch {
namespace {

// Lies in the middle between what planting gives a neuron in its contexts and in others.
constexpr double kNeuronThreshold = (kActiveMargin - kSilentMargin) / 2;

std::shared_ptr<std::vector<std::byte>> encode(DType dtype, size_t rows, size_t cols, std::span<const float> values) {
  const size_t stride = row_bytes(dtype, cols);
  auto bytes = std::make_shared<std::vector<std::byte>>(rows * stride);
  for (size_t r = 0; r < rows; ++r) codec(dtype).encode(&values[r * cols], bytes->data() + r * stride, cols);
  return bytes;
}

WeightView view(DType dtype, const std::vector<std::byte>& bytes, size_t rows, size_t cols) {
  return {dtype, bytes.data(), rows, cols, row_bytes(dtype, cols)};
}

// The share of (member, context) pairs that are served.
float density(const ContextSets& sets, size_t n, size_t n_contexts) {
  size_t n_served = 0;
  for (size_t k = 0; k < n; ++k) n_served += sets.of(k).size();
  return float(double(n_served) / double(n * n_contexts));
}

}  // namespace

Sidecar synth_sidecar(const SynthOptions& options, const ModelFile& model, const Progress& progress, const Stop* stop) {
  const SynthShape& s = options.shape;
  const SynthPlanting& p = options.planting;
  if (p.density.empty()) fail(ErrorKind::kUsage, "a sidecar's predictors know what was planted; give a density");
  if (!is_relu_family(s.activation))
    fail(ErrorKind::kUsage, "a sidecar needs a model with exact zeros; the activation of {} has none", s.name);
  const PlantedRows rows(options);
  const SynthDirections directions(p.n_contexts, s.n_embd, options.seed);
  const size_t rank = round_up(p.n_contexts, info(DType::kQ4_0).block_elems);

  Sidecar sidecar;
  sidecar.base = {tensor_sha256(model, progress, stop),
                  tensor_fingerprint(model),
                  s.arch,
                  model.meta.get_string("general.name", ""),
                  s.n_layer,
                  s.n_embd,
                  s.n_ff};
  std::vector<float> in(rank * s.n_embd, 0.0f);
  for (size_t c = 0; c < p.n_contexts; ++c) std::ranges::copy(directions.context(c), &in[c * s.n_embd]);
  const DType in_dtype = fitting_dtype(DType::kQ4_0, s.n_embd);
  const auto in_bytes = encode(in_dtype, rank, s.n_embd, in);
  sidecar.owners.push_back(in_bytes);
  for (size_t layer = 0; layer < s.n_layer; ++layer) {
    SidecarLayer l;
    const PlantedMlp mlp = rows.mlp(layer, stream_at_mlp(s, layer));
    std::vector<float> out(s.n_ff * rank, 0.0f);
    for (size_t k = 0; k < s.n_ff; ++k) l.frequency.push_back(float(mlp.sets.of(k).size()) / float(p.n_contexts));
    for (size_t k = 0; k < s.n_ff; ++k)
      for (uint16_t c : mlp.sets.of(k)) out[k * rank + c] = float(mlp.context);
    // Two values per row, 0 and the largest: four bits hold them exactly.
    const auto out_bytes = encode(DType::kQ4_0, s.n_ff, rank, out);
    sidecar.owners.push_back(out_bytes);
    l.neurons = std::make_shared<LowRankPredictor>(
        LowRankWeights{view(in_dtype, *in_bytes, rank, s.n_embd), view(DType::kQ4_0, *out_bytes, s.n_ff, rank),
                       std::vector<float>(s.n_ff, float(-kSilentMargin)), false});
    l.curve = {{float(kNeuronThreshold), density(mlp.sets, s.n_ff, p.n_contexts)}};
    if (p.head_density < 1) {
      const ContextSets heads = rows.heads(layer);
      const double along = std::sqrt(double(s.n_embd) * kContextEnergy / stream_at_attention(s, layer));
      std::vector<float> W(s.n_kv_head * s.n_embd, 0.0f);
      for (size_t h = 0; h < s.n_kv_head; ++h)
        for (uint16_t c : heads.of(h))
          axpy(float(1 / along), directions.context(c), std::span(W).subspan(h * s.n_embd, s.n_embd));
      const DType dtype = fitting_dtype(DType::kQ8_0, s.n_embd);
      const auto bytes = encode(dtype, s.n_kv_head, s.n_embd, W);
      sidecar.owners.push_back(bytes);
      l.heads.groups = std::make_shared<LinearPredictor>(view(dtype, *bytes, s.n_kv_head, s.n_embd),
                                                         std::vector<float>(s.n_kv_head, 0.0f));
      l.heads.curve = {{0.5f, density(heads, s.n_kv_head, p.n_contexts)}};
    }
    sidecar.layers.push_back(std::move(l));
  }
  return sidecar;
}

}  // namespace hunch
