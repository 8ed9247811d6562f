#include "model/model_parts.h"

#include <algorithm>

namespace hunch {

ModelParts::ModelParts(const ModelConfig& config, size_t down_block, Shard shard)
    : shard_(shard), n_vocab_(config.n_vocab), down_block_(down_block) {
  for (const LayerConfig& l : config.layers) layers_.push_back({cut_of(l, shard), l.n_head, l.n_kv_head, l.d_head});
}

Range ModelParts::words(size_t rank) const {
  constexpr size_t kStripRows = 16;
  return share_of(n_vocab_, n_vocab_ / kStripRows >= shard_.n ? kStripRows : 1, {rank, shard_.n});
}

bool ModelParts::shares_keys(size_t layer) const {
  return !is_whole() && cut(layer).mixer && layers_[layer].n_kv_head < shard_.n;
}

std::optional<Range> ModelParts::rows(LinearId id, size_t n_out) const {
  if (!is_cut(id)) return std::nullopt;
  if (id.role == Role::kLogits) return words();
  const Layer& l = layers_[id.layer];
  switch (id.role) {
    case Role::kQuery: return times(l.cut.heads, n_out / l.n_head);  // perhaps with gates
    case Role::kKey:
    case Role::kValue: return times(l.cut.kv_heads, l.d_head);
    case Role::kGate:
    case Role::kUp: return neurons(n_out);
    default: return std::nullopt;
  }
}

std::optional<Range> ModelParts::columns(LinearId id, size_t n_in) const {
  if (!is_cut(id)) return std::nullopt;
  switch (id.role) {
    case Role::kHeads: return times(layers_[id.layer].cut.heads, layers_[id.layer].d_head);
    case Role::kDown: return neurons(n_in);
    default: return std::nullopt;
  }
}

bool ModelParts::is_cut(LinearId id) const {
  if (is_whole()) return false;
  if (id.role == Role::kLogits) return true;
  if (id.layer == LinearId::kNone) return false;
  switch (id.role) {
    case Role::kQuery:
    case Role::kKey:
    case Role::kValue:
    case Role::kHeads: return cut(id.layer).mixer;
    case Role::kGate:
    case Role::kUp:
    case Role::kDown: return cut(id.layer).mlp;
    default: return false;
  }
}

}  // namespace hunch
