#include "model/column_weights.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/interrupt.h"
#include "base/memory_info.h"
#include "model/transpose.h"

namespace hunch {
namespace {

// The projections of a part, in the order of their outputs; empty where they cannot be copied.
std::vector<WeightView> sources(const LayerWeights& l, InputPart part) {
  std::vector<WeightView> from;
  switch (part) {
    case InputPart::kAttention: from = {l.q.W, l.k.W, l.v.W}; break;
    case InputPart::kHeads: from = {l.o.W}; break;
    case InputPart::kMlp:
      if (l.mlp.gate.W) from.push_back(l.mlp.gate.W);
      if (l.mlp.up.W) from.push_back(l.mlp.up.W);
      break;
    case InputPart::kNeurons:
      if (l.mlp.down.W) from.push_back(l.mlp.down.W);
      break;
  }
  const bool fits =
      std::ranges::all_of(from, [&](const WeightView& W) { return is_plain(W.dtype) && W.dtype == from[0].dtype; });
  return fits ? from : std::vector<WeightView>();
}

// Rows on their own cache lines.
size_t stride_of(const std::vector<WeightView>& from) {
  size_t n_out = 0;
  for (const WeightView& W : from) n_out += W.rows;
  return round_up(row_bytes(from[0].dtype, n_out), AlignedBuffer::kAlignBytes);
}

bool wanted(ColumnParts parts, InputPart part) { return parts == ColumnParts::kAll || part == InputPart::kNeurons; }

constexpr InputPart kEveryPart[] = {InputPart::kAttention, InputPart::kHeads, InputPart::kMlp, InputPart::kNeurons};

}  // namespace

uint64_t ColumnWeights::bytes_needed(const ModelWeights& weights, ColumnParts parts) {
  uint64_t bytes = 0;
  for (const LayerWeights& l : weights.layers)
    for (InputPart part : kEveryPart)
      if (wanted(parts, part))
        if (const std::vector<WeightView> from = sources(l, part); !from.empty())
          bytes += from[0].cols * stride_of(from);
  return bytes;
}

ColumnWeights ColumnWeights::make(const ModelWeights& weights, ColumnParts parts, Compute& compute) {
  require_memory(bytes_needed(weights, parts),
                 parts == ColumnParts::kAll ? "storing every projection by input, for TEAL,"
                                            : "storing the down projections by neuron",
                 "`hunch sparsify --method griffin` needs no copies of the whole model");
  ColumnWeights out;
  for (const LayerWeights& l : weights.layers) {
    Layer& layer = out.layers.emplace_back();
    for (InputPart part : kEveryPart) {
      WeightView& to = layer.parts[size_t(part)];
      if (part == InputPart::kNeurons && l.mlp.W_down_t) to = l.mlp.W_down_t;
      if (to || !wanted(parts, part)) continue;
      const std::vector<WeightView> from = sources(l, part);
      if (from.empty()) continue;
      throw_if_interrupted();
      const size_t stride = stride_of(from);
      AlignedBuffer arena(from[0].cols * stride);
      size_t n_out = 0;
      for (const WeightView& W : from) {
        transpose_plain(compute, W, arena.data() + row_bytes(W.dtype, n_out), stride);
        n_out += W.rows;
      }
      to = {from[0].dtype, arena.data(), from[0].cols, n_out, stride};
      out.arenas.push_back(std::move(arena));
    }
  }
  return out;
}

std::shared_ptr<const ColumnWeights> ColumnStore::get(const ModelWeights& weights, ColumnParts parts,
                                                      Compute& compute) {
  const std::lock_guard lock(mutex_);
  if (!weights_ || (parts == ColumnParts::kAll && made_ != ColumnParts::kAll)) {
    weights_.reset();
    weights_ = std::make_shared<const ColumnWeights>(ColumnWeights::make(weights, parts, compute));
    made_ = parts;
  }
  return weights_;
}

}  // namespace hunch
