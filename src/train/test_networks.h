// For tests: networks of the fixtures, and losses of them.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "model/open_model.h"
#include "model/test_steps.h"
#include "model/virtual_tokens.h"
#include "train/losses.h"
#include "train/network.h"
#include "train/random_values.h"

namespace hunch {

struct TestModel {
  Compute compute;
  Model model;

  // An absolute path, or a fixture's name.
  explicit TestModel(const std::filesystem::path& path, size_t n_threads = 2)
      : compute(n_threads),
        model(open_model(path.is_absolute() ? path : golden_fixture(path.string())).file, {}, compute) {}
};

inline const std::vector<Role> kAllRoles = {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads,
                                            Role::kGate,  Role::kUp,  Role::kDown};

inline std::vector<int32_t> random_ids(size_t n, size_t n_vocab, uint64_t seed) {
  RandomValues random(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(random.below(n_vocab));
  return ids;
}

// Sequences of random ids, of which some predictions do not count.
inline TokenBatch random_batch(const Model& model, const SequenceShape& shape) {
  TokenBatch batch{shape, random_ids(shape.n_rows(), model.config().n_vocab, 1),
                   random_ids(shape.n_rows(), model.config().n_vocab, 2)};
  batch.targets[1] = batch.targets[shape.n_rows() - 1] = TokenBatch::kNoTarget;
  return batch;
}

inline double mean_loss(Network& network, const TokenBatch& batch) {
  return network.loss(batch, cross_entropy(network.compute(), batch, 1));
}

// All logits of a batch.
inline std::vector<float> logits_of(Network& network, const TokenBatch& batch) {
  std::vector<float> out(batch.shape.n_rows() * network.model().config().n_vocab);
  network.forward(batch);
  network.logits(0, {out.data(), batch.shape.n_rows(), network.model().config().n_vocab});
  return out;
}

// What inference makes of the batch's sequences, with an adapter or none.
inline std::vector<float> inferred_logits(const Model& model, Compute& compute, const TokenBatch& batch,
                                          const Adapter* adapter = nullptr) {
  KvCache cache(Transformer::kv_shape(model.config()), batch.shape.n_rows() + 64);
  Transformer transformer(model, cache, compute);
  std::vector<float> out;
  const std::vector<uint32_t> rows = rows_up_to(batch.shape.n_tokens);
  for (size_t s = 0; s < batch.shape.n_sequences; ++s) {
    Run run{cache.create(), batch.shape.n_tokens};
    run.adapter = adapter;
    if (adapter) append_virtual_tokens(model, compute, cache, run.sequence, *adapter);
    append_rows(transformer.run(
                    {std::span(batch.ids).subspan(s * batch.shape.n_tokens, batch.shape.n_tokens), {&run, 1}, rows}),
                out);
  }
  return out;
}

}  // namespace hunch
