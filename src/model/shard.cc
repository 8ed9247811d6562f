#include "model/shard.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hunch {
namespace {

// Key heads are divided like other things while there are enough; then each is read by several ranks, whose query heads
// are different ones of its group.
Range kv_heads_of(const LayerConfig& c, Shard shard) {
  if (c.n_kv_head >= shard.n) return share_of(c.n_kv_head, 1, shard);
  const size_t n_readers = shard.n / c.n_kv_head;
  if (shard.n % c.n_kv_head != 0 || n_readers > c.n_group())
    fail(ErrorKind::kUnsupported,
         "layer {} has {} key heads for {} query heads: they do not go among {} ranks; take a number of ranks up to "
         "{}, or a multiple of it up to {}",
         c.index, c.n_kv_head, c.n_head, shard.n, c.n_kv_head, c.n_head);
  return {shard.rank / n_readers, 1};
}

Range heads_of(const LayerConfig& c, Range kv_heads, Shard shard) {
  const size_t n_group = c.n_group();
  if (c.n_kv_head >= shard.n) return {kv_heads.begin * n_group, kv_heads.n * n_group};
  const size_t n_readers = shard.n / c.n_kv_head;
  const Range own = share_of(n_group, 1, {shard.rank % n_readers, n_readers});
  return {kv_heads.begin * n_group + own.begin, own.n};
}

// Neurons of which each is computed for itself.
bool divides_mlp(const LayerConfig& c) {
  const bool mixes = c.sub_norms || c.round_inputs || c.gate_cutoff > -INFINITY || c.moe.beside_mlp;
  return c.has_mlp() && !mixes;
}

bool divides_mixer(const LayerConfig& c) {
  const bool mixes = c.sub_norms || c.round_inputs || c.qk_norm == QkNorm::kAllHeads || c.relative.on;
  return c.has_attention() && c.latent.rank == 0 && !mixes;
}

}  // namespace

Range share_of(size_t n, size_t unit, Shard shard) {
  const size_t n_units = n / unit, each = n_units / shard.n, n_more = n_units % shard.n;
  const size_t begin = shard.rank * each + std::min(shard.rank, n_more);
  const size_t end = begin + each + (shard.rank < n_more);
  return {begin * unit, (shard.rank + 1 == shard.n ? n : end * unit) - begin * unit};
}

LayerCut cut_of(const LayerConfig& c, Shard shard) {
  LayerCut cut;
  if (shard.is_whole()) return cut;
  cut.mlp = divides_mlp(c);
  cut.mixer = divides_mixer(c);
  if (!cut.mixer) return cut;
  cut.kv_heads = kv_heads_of(c, shard);
  cut.heads = heads_of(c, cut.kv_heads, shard);
  return cut;
}

size_t neuron_unit(size_t n_ff, size_t block, Shard shard) {
  constexpr size_t kStrips = 64;  // whole strips of gate and up, and their cache lines
  size_t unit = block;
  while (unit < kStrips && n_ff / (2 * unit) >= 2 * shard.n) unit *= 2;
  if (n_ff / unit < shard.n)
    fail(ErrorKind::kUnsupported, "{} neurons in blocks of {} do not go among {} ranks", n_ff, unit, shard.n);
  return unit;
}

LayerConfig part_of(const LayerConfig& layer, const LayerCut& cut, size_t block, Shard shard) {
  LayerConfig part = layer;
  part.mixer_in_parts = cut.mixer;
  part.mlp_in_parts = cut.mlp;
  if (cut.mixer) {
    part.n_head = cut.heads.n;
    part.n_kv_head = cut.kv_heads.n;
    if (!part.alibi_slopes.empty()) {
      const auto first = layer.alibi_slopes.begin() + ptrdiff_t(cut.heads.begin);
      part.alibi_slopes.assign(first, first + ptrdiff_t(cut.heads.n));
    }
  }
  if (cut.mlp)
    for (size_t* n : {&part.n_ff, &part.moe.n_ff, &part.moe.n_ff_shared})
      if (*n > 0) *n = share_of(*n, neuron_unit(*n, block, shard), shard).n;
  return part;
}

Range layers_of(const ModelConfig& c, const Division& division, Shard shard) {
  if (c.n_layer < shard.n) fail(ErrorKind::kUnsupported, "{} layers do not go among {} ranks", c.n_layer, shard.n);
  const std::vector<uint32_t>& said = division.n_layers;
  if (!said.empty() && (said.size() != shard.n || std::ranges::find(said, 0u) != said.end() ||
                        std::accumulate(said.begin(), said.end(), size_t{0}) != c.n_layer))
    fail(ErrorKind::kUsage,
         "layers are divided as {} (ranks): expected {} numbers from 1 on, one for each rank, with a sum of {}",
         fmt::join(said, ","), shard.n, c.n_layer);
  Range own, next;
  for (size_t rank = 0; rank < shard.n; ++rank) {  // all ranks say the same of all
    next = {next.begin + next.n, said.empty() ? share_of(c.n_layer, 1, {rank, shard.n}).n : said[rank]};
    if (rank == shard.rank) own = next;
    for (size_t i = next.begin; i < next.begin + next.n; ++i)
      if (const size_t from = c.layers[i].keys_from; from < next.begin)
        fail(ErrorKind::kUnsupported,
             "layer {} reads the keys of layer {}, which would be another rank's: divide the model into tensors, or "
             "its layers elsewhere (ranks)",
             i, from);
  }
  return own;
}

void check_divisible(const ModelConfig& c) {
  const auto refuse = [&](const char* what) {
    fail(ErrorKind::kUnsupported,
         "{} (architecture {}): such models are not divided among ranks yet; run it without "
         "mpirun",
         what, c.arch);
  };
  if (c.n_streams > 1) refuse("the model has several streams");
  if (!c.vocabulary_ends.empty()) refuse("the model has a vocabulary in clusters");
  if (!c.has_output) refuse("the model makes vectors, no logits");
}

}  // namespace hunch
