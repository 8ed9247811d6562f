#include "kernels/attention.h"

namespace hunch {

void attention(ThreadPool&, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out, Scratch&) {
  ref::attention(Q, n_head, spans, params, out);
}

}  // namespace hunch
