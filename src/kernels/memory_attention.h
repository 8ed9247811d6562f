// Attention that also looks into a memory: keys and values of texts that are not in the cache, of which each query
// finds those nearest to it. Sources: Wu et al. 2022, "Memorizing Transformers" (arXiv:2203.08913), section 3.2;
// Bertsch et al. 2023, "Unlimiformer" (arXiv:2305.01625); Wang et al. 2023, "LongMem" (arXiv:2306.07174): one softmax.
#pragma once
#include <span>

#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// What one KV head remembers.
struct MemoryHead {
  WeightView keys, values;  // [n, d]
};

struct MemoryMix {
  size_t top = 32;     // memories that a query reads: those with the largest scores, among equals the first
  float scale = 1;     // multiplies q.k
  float soft_cap = 0;  // AttentionParams::soft_cap
  // [n] for each query what its memories' own softmax counts in the result, the rest is what was attended to before
  // (Wu et al., equation 1). Empty: one softmax over both.
  std::span<const float> gates;
};

// What a softmax over other keys gave, as attention() says it: its largest score and its sum of e^(score - largest).
struct SoftmaxStats {
  std::span<const float> max, sum;  // [n]; where nothing was seen, -infinity and 0
};

// Mixes memories into `out` [n, d], what attention gave to queries Q [n, d] of heads that share the memory's keys. All
// scores are computed: exact. Without memories and gates nothing changes.
void attend_memory(Compute& compute, MatView<const float> Q, const MemoryHead& memory, const MemoryMix& mix,
                   const SoftmaxStats& stats, MatView<float> out);

// Bytes that n queries read of it.
size_t memory_bytes_read(const MemoryHead& memory, size_t top, size_t n);

namespace ref {  // in double precision, from sorted scores
void attend_memory(MatView<const float> Q, const MemoryHead& memory, const MemoryMix& mix, const SoftmaxStats& stats,
                   MatView<float> out);
}  // namespace ref
}  // namespace hunch
