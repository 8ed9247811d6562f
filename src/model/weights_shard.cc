// A rank's part of a file's tensors (model/shard.h): views of other rows or columns, and nothing else.
#include "base/error.h"
#include "formats/format.h"
#include "linear/gathered.h"
#include "model/ranks.h"
#include "model/weight_loader.h"

namespace hunch {
void WeightLoader::divide() {
  size_t block = 1;
  for (const Tensor& t : file_.tensors)
    if (t.name.find("ffn_down") != t.name.npos && t.name.find("ffn_down_t") == t.name.npos)
      block = std::max<size_t>(block, info(t.dtype).block_elems);
  w_.parts = ModelParts(c_, block, shard_);
}

void WeightLoader::require_whole(LinearId id, const std::string& tensor, const char* form) const {
  if (w_.parts.is_cut(id))
    fail(ErrorKind::kUnsupported,
         "tensor '{}' is stored {}: such matrices are not divided among ranks yet; run it without mpirun", tensor,
         form);
}

void WeightLoader::cut(LinearId id, const std::string& tensor, WeightView& W, Vector& bias) const {
  if (!shard_.is_whole() && id.role == Role::kExpertsOut && w_.parts.cut(id.layer).mlp && shard_.rank > 0)
    bias.clear();  // what it makes of the rank's part of the sum is added up
  if (const auto rows = w_.parts.rows(id, W.rows)) {
    W = W.row_range(rows->begin, rows->n);
    keep_part(bias, *rows);
  }
  const auto columns = w_.parts.columns(id, W.cols);
  if (!columns) return;
  const Format& format = info(W.dtype);
  if (columns->begin % format.block_elems != 0 || columns->n % format.block_elems != 0)
    fail(ErrorKind::kUnsupported,
         "tensor '{}' is {}, in blocks of {} along what is divided among {} ranks: rank {} would begin at {} and have "
         "{}; take fewer ranks, or a type with smaller blocks",
         tensor, name_of(W.dtype), format.block_elems, shard_.n, shard_.rank, columns->begin, columns->n);
  W = {W.dtype, W.data + row_bytes(W.dtype, columns->begin), W.rows, columns->n, W.row_stride_bytes};
  if (shard_.rank > 0) bias.clear();  // it is added once
}

void WeightLoader::cut_by_neuron(LinearId id, WeightView& by_input, Vector& bias) const {
  const auto part = w_.parts.columns(id, by_input.rows);
  if (!part) return;
  by_input = by_input.row_range(part->begin, part->n);
  if (shard_.rank > 0) bias.clear();
}

void WeightLoader::cut_heads(const LayerConfig& c, Attention& a) const {
  if (shard_.is_whole() || !w_.parts.cut(c.index).mixer) return;
  const LayerCut& parts = w_.parts.cut(c.index);
  keep_part(a.sinks, parts.heads);
  if (c.qk_norm != QkNorm::kPerHead) return;
  for (Vector* values : {&a.q_norm.weight, &a.q_norm.bias}) keep_part(*values, times(parts.heads, c.d_head));
  for (Vector* values : {&a.k_norm.weight, &a.k_norm.bias}) keep_part(*values, times(parts.kv_heads, c.d_head));
}

void WeightLoader::gather_words() {
  if (shard_.is_whole() || !w_.output) return;
  std::vector<size_t> n_rows;
  for (size_t rank = 0; rank < shard_.n; ++rank) n_rows.push_back(w_.parts.words(rank).n);
  w_.output = std::make_unique<Gathered>(std::move(w_.output), std::move(n_rows), options_.ranks->communicator());
}

}  // namespace hunch
