#include "model/virtual_tokens.h"

#include <numeric>

#include "model/transformer.h"

namespace hunch {

void append_virtual_tokens(const Model& model, Compute& compute, KvCache& cache, KvCache::SequenceId sequence,
                           const Adapter& adapter) {
  const VirtualTokenValues& own = adapter.virtual_tokens;
  if (own.n == 0) return;
  if (own.layers.empty()) {
    std::vector<int32_t> numbers(own.n);
    std::iota(numbers.begin(), numbers.end(), 0);
    Run run{sequence, own.n};
    run.adapter = &adapter;
    run.is_virtual = true;
    Transformer(model, cache, compute).run({numbers, {&run, 1}, {}});
    return;
  }
  cache.append(sequence, own.n);
  for (size_t l = 0; l < own.layers.size(); ++l) {
    const auto rows = [&](const std::vector<float>& values) {
      return MatView<const float>(values.data(), own.n, values.size() / own.n);
    };
    cache.store(sequence, l, 0, rows(own.layers[l].K), rows(own.layers[l].V));
  }
}

}  // namespace hunch
