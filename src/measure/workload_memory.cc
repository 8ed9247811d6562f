#include "measure/workload_memory.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "formats/format.h"
#include "state/recurrent_states.h"

namespace hunch {
namespace {

constexpr StoredPrecision kPrecisions[] = {{"32 bits", DType::kF32}, {"16 bits", DType::kF16}, {"8 bits", DType::kQ8_0},
                                           {"6 bits", DType::kQ6_K}, {"5 bits", DType::kQ5_K}, {"4 bits", DType::kQ4_K},
                                           {"3 bits", DType::kQ3_K}, {"2 bits", DType::kQ2_K}};

constexpr StoredPrecision kCachePrecisions[] = {{"32 bits", DType::kF32},
                                                {"16 bits", DType::kF16},
                                                {"8 bits", DType::kQ8_0},
                                                {"5 bits", DType::kQ5_0},
                                                {"4 bits", DType::kQ4_0}};

// The cache of one layer: bytes of a token, and of a sequence.
double token_bytes(const LayerWork& layer, KvType kv) {
  return layer.keys.stores ? double(layer.keys.n_rows * kv_value_bytes(kv, layer.keys.width)) : 0;
}
double sequence_bytes(const LayerWork& layer) {
  if (layer.state.values == 0) return 0;
  const RecurrentSize size[] = {{layer.state.values, layer.state.inputs}};
  return double(RecurrentStates::bytes_per_sequence(size));
}

}  // namespace

double StoredPrecision::bits() const { return 8.0 * info(dtype).block_bytes / info(dtype).block_elems; }

std::span<const StoredPrecision> precisions() { return kPrecisions; }
std::span<const StoredPrecision> cache_precisions() { return kCachePrecisions; }

bool cache_fits(const Workload& model, KvType kv) {
  return std::ranges::all_of(model.layers, [&](const LayerWork& l) { return l.keys.width % kv_block(kv) == 0; });
}

double MemoryNeed::all() const { return std::accumulate(layers.begin(), layers.end(), first + last); }

Workload in_precision(const Workload& model, const StoredPrecision& precision) {
  Workload out = model;
  const auto held = [&](MatrixWork& m) { m.bytes = uint64_t(std::ceil(double(m.weights) * precision.bits() / 8)); };
  for (MatrixWork* m : {&out.around, &out.words_out, &out.logits, &out.embedding}) held(*m);
  for (LayerWork& layer : out.layers)
    for (MatrixWork* m : {&layer.mixing, &layer.shared, &layer.expert}) held(*m);
  const double row = model.embedding.bytes ? double(model.lookup_bytes) / double(model.embedding.bytes) : 0;
  out.lookup_bytes = size_t(row * double(out.embedding.bytes));
  return out;
}

MemoryNeed weights_need(const Workload& model) {
  MemoryNeed need;
  need.first = double(model.embedding.bytes + model.around.bytes) + double(model.other_weights) * double(sizeof(float));
  need.last = double(model.words_out.bytes);
  (model.tied ? need.table_copy : need.last) += double(model.logits.bytes);
  for (const LayerWork& layer : model.layers) need.layers.push_back(double(layer.bytes()));
  return need;
}

std::vector<double> cache_need(const Workload& model, KvType kv, size_t n_tokens, size_t n_sequences) {
  std::vector<double> need;
  for (const LayerWork& layer : model.layers)
    need.push_back((token_bytes(layer, kv) * double(n_tokens) + sequence_bytes(layer)) * double(n_sequences));
  return need;
}

double cache_bytes_per_token(const Workload& model, KvType kv) {
  double bytes = 0;
  for (const LayerWork& layer : model.layers) bytes += token_bytes(layer, kv);
  return bytes;
}

double state_bytes(const Workload& model) {
  double bytes = 0;
  for (const LayerWork& layer : model.layers) bytes += sequence_bytes(layer);
  return bytes;
}

std::optional<size_t> n_devices(const MemoryNeed& weights, std::span<const double> cache, double bytes) {
  if (weights.first > bytes) return std::nullopt;
  size_t n = 1;
  double used = weights.first;
  const auto place = [&](double piece) {
    if (used + piece > bytes) ++n, used = 0;
    used += piece;
    return piece <= bytes;
  };
  for (size_t l = 0; l < weights.layers.size(); ++l)
    if (!place(weights.layers[l] + cache[l])) return std::nullopt;
  if (!place(weights.last)) return std::nullopt;
  // The logits of a tied embedding are computed where the layers end: there it is needed once more.
  if (n > 1 && weights.table_copy > 0 && !place(weights.table_copy)) return std::nullopt;
  return n;
}

}  // namespace hunch
