// Tokens that an adapter has before every text: prompt and prefix tuning (io/adapter.h).
#pragma once
#include "base/compute.h"
#include "linear/adapter.h"
#include "model/model.h"
#include "state/kv_cache.h"

namespace hunch {

// Makes the adapter's virtual tokens the first of an empty sequence: embeddings are computed as tokens of a prompt,
// keys and values are stored as they are. The text follows at position n. Throws as Transformer::run().
void append_virtual_tokens(const Model& model, Compute& compute, KvCache& cache, KvCache::SequenceId sequence,
                           const Adapter& adapter);

}  // namespace hunch
