// What a model and its cache take in memory in other formats, and how many devices hold it.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "measure/workload.h"

namespace hunch {

// A number of bits that weights may have, and the block format of hunch that has about as many.
struct StoredPrecision {
  const char* name;  // "4 bits"
  DType dtype;
  double bits() const;  // of a weight, with the format's scales
};
std::span<const StoredPrecision> precisions();        // from f32 down to 2 bits
std::span<const StoredPrecision> cache_precisions();  // of keys and values: from f32 down to 4 bits
// Whether the heads' keys and values are whole blocks of a type.
bool cache_fits(const Workload& model, KvType kv);

// The same model with all matrices and tables of that precision; norms and the like are f32.
Workload in_precision(const Workload& model, const StoredPrecision& precision);

// Bytes of weights in memory.
struct MemoryNeed {
  double first = 0, last = 0;  // the embedding and what is no layer's; matrices of logits, but for the embedding
  std::vector<double> layers;
  double table_copy = 0;  // of a tied embedding, where first and last are on different devices
  double all() const;
};
MemoryNeed weights_need(const Workload& model);

// What the caches of n_sequences of n_tokens each take: keys and values in `kv`, states in f32. A window limits what is
// read of the cache, not what it holds. [n_layer]
std::vector<double> cache_need(const Workload& model, KvType kv, size_t n_tokens, size_t n_sequences);
// Bytes of one token in all layers, and of a sequence whatever its length.
double cache_bytes_per_token(const Workload& model, KvType kv);
double state_bytes(const Workload& model);

// Devices of `bytes` each that hold the layers one after the other, each with its part of the cache, none divided, as
// few as that takes; scratch memory is not counted. None where a layer, or an end, is larger than a device.
std::optional<size_t> n_devices(const MemoryNeed& weights, std::span<const double> cache, double bytes);

}  // namespace hunch
