// A rank's part of a file's tensors (model/shard.h): views of other rows or columns, and nothing else.
#include "base/error.h"
#include "formats/format.h"
#include "linear/gathered.h"
#include "model/ranks.h"
#include "model/weight_loader.h"

namespace hunch {
namespace {

void keep_part(Vector& values, Range part) {
  if (values.empty()) return;
  values.erase(values.begin() + ptrdiff_t(part.begin + part.n), values.end());
  values.erase(values.begin(), values.begin() + ptrdiff_t(part.begin));
}

Range times(Range range, size_t width) { return {range.begin * width, range.n * width}; }

}  // namespace

void WeightLoader::divide() {
  for (const LayerConfig& l : c_.layers) cuts_.push_back(cut_of(l, shard_));
  for (const Tensor& t : file_.tensors)
    if (t.name.find("ffn_down") != t.name.npos && t.name.find("ffn_down_t") == t.name.npos)
      down_block_ = std::max<size_t>(down_block_, info(t.dtype).block_elems);
}

Range WeightLoader::neurons(size_t n_ff) const {
  return share_of(n_ff, neuron_unit(n_ff, down_block_, shard_), shard_);
}

Range WeightLoader::words(size_t rank) const {
  constexpr size_t kStripRows = 16;
  return share_of(c_.n_vocab, c_.n_vocab / kStripRows >= shard_.n ? kStripRows : 1, {rank, shard_.n});
}

bool WeightLoader::is_cut(LinearId id) const {
  if (shard_.is_whole()) return false;
  if (id.role == Role::kLogits) return true;
  if (id.layer == LinearId::kNone) return false;
  switch (id.role) {
    case Role::kQuery:
    case Role::kKey:
    case Role::kValue:
    case Role::kHeads: return cuts_[id.layer].mixer;
    case Role::kGate:
    case Role::kUp:
    case Role::kDown: return cuts_[id.layer].mlp;
    default: return false;
  }
}

void WeightLoader::require_whole(LinearId id, const std::string& tensor, const char* form) const {
  if (is_cut(id))
    fail(ErrorKind::kUnsupported,
         "tensor '{}' is stored {}: such matrices are not divided among ranks yet; run it without mpirun", tensor,
         form);
}

void WeightLoader::cut(LinearId id, const std::string& tensor, WeightView& W, Vector& bias) const {
  if (!shard_.is_whole() && id.role == Role::kExpertsOut && cuts_[id.layer].mlp && shard_.rank > 0)
    bias.clear();  // what it makes of the rank's part of the sum is added up
  if (!is_cut(id)) return;
  const auto keep_rows = [&](Range part) {
    W = W.row_range(part.begin, part.n);
    keep_part(bias, part);
  };
  const auto keep_columns = [&](Range part) {
    const Format& format = info(W.dtype);
    if (part.begin % format.block_elems != 0 || part.n % format.block_elems != 0)
      fail(
          ErrorKind::kUnsupported,
          "tensor '{}' is {}, in blocks of {} along what is divided among {} ranks: rank {} would begin at {} and have "
          "{}; take fewer ranks, or a type with smaller blocks",
          tensor, name_of(W.dtype), format.block_elems, shard_.n, shard_.rank, part.begin, part.n);
    W = {W.dtype, W.data + row_bytes(W.dtype, part.begin), W.rows, part.n, W.row_stride_bytes};
    if (shard_.rank > 0) bias.clear();  // it is added once
  };
  if (id.role == Role::kLogits) return keep_rows(words(shard_.rank));
  const LayerConfig& c = c_.layers[id.layer];
  const LayerCut& parts = cuts_[id.layer];
  switch (id.role) {
    case Role::kQuery: return keep_rows(times(parts.heads, W.rows / c.n_head));  // perhaps with gates
    case Role::kKey:
    case Role::kValue: return keep_rows(times(parts.kv_heads, c.d_head));
    case Role::kHeads: return keep_columns(times(parts.heads, c.d_head));
    case Role::kDown: return keep_columns(neurons(W.cols));
    default: return keep_rows(neurons(W.rows));
  }
}

void WeightLoader::cut_by_neuron(LinearId id, WeightView& by_input, Vector& bias) const {
  if (!is_cut(id)) return;
  const Range part = neurons(by_input.rows);
  by_input = by_input.row_range(part.begin, part.n);
  if (shard_.rank > 0) bias.clear();
}

void WeightLoader::cut_heads(const LayerConfig& c, Attention& a) const {
  if (shard_.is_whole() || !cuts_[c.index].mixer) return;
  const LayerCut& parts = cuts_[c.index];
  keep_part(a.sinks, parts.heads);
  if (c.qk_norm != QkNorm::kPerHead) return;
  for (Vector* values : {&a.q_norm.weight, &a.q_norm.bias}) keep_part(*values, times(parts.heads, c.d_head));
  for (Vector* values : {&a.k_norm.weight, &a.k_norm.bias}) keep_part(*values, times(parts.kv_heads, c.d_head));
}

void WeightLoader::gather_words() {
  if (shard_.is_whole() || !w_.output) return;
  std::vector<size_t> n_rows;
  for (size_t rank = 0; rank < shard_.n; ++rank) n_rows.push_back(words(rank).n);
  w_.output = std::make_unique<Gathered>(std::move(w_.output), std::move(n_rows), options_.ranks->communicator());
}

}  // namespace hunch
