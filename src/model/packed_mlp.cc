#include "model/packed_mlp.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "model/transpose.h"

namespace hunch {
namespace {

enum class DownForm : uint8_t { kColumns, kRows, kWhole };

DownForm down_form(const MlpWeights& m) {
  if (m.W_down_t) return DownForm::kRows;
  return is_plain(m.down.W.dtype) ? DownForm::kColumns : DownForm::kWhole;
}

size_t padded(size_t n) { return round_up(n, AlignedBuffer::kAlignBytes); }

size_t bytes_of(const MlpWeights& m, size_t k) {
  size_t n = padded(k * row_bytes(m.up.W.dtype, m.up.W.cols));
  if (m.gate.W) n += padded(k * row_bytes(m.gate.W.dtype, m.gate.W.cols));
  switch (down_form(m)) {
    case DownForm::kRows: n += padded(k * row_bytes(m.W_down_t.dtype, m.W_down_t.cols)); break;
    case DownForm::kColumns: n += m.down.W.rows * padded(row_bytes(m.down.W.dtype, k)); break;
    case DownForm::kWhole: break;
  }
  return n;
}

// Takes pieces of one arena.
class Packer {
 public:
  Packer(Compute& compute, std::span<const uint32_t> ids, std::byte* memory) : compute_(compute), ids_(ids), at_(memory) {}

  WeightView rows(const WeightView& W) {
    const size_t n = row_bytes(W.dtype, W.cols);
    std::byte* const to = take(ids_.size() * n);
    compute_.threads.parallel_for(ids_.size(), 8, [&](size_t begin, size_t end, size_t) {
      for (size_t i = begin; i < end; ++i) std::memcpy(to + i * n, W.row(ids_[i]), n);
    });
    return {W.dtype, to, ids_.size(), W.cols, n};
  }

  Linear rows(const Linear& l) {
    Linear out{rows(l.W), {}};
    if (!l.bias.empty())
      for (uint32_t id : ids_) out.bias.push_back(l.bias[id]);
    return out;
  }

  WeightView columns(const WeightView& W) {
    const size_t stride = padded(row_bytes(W.dtype, ids_.size()));
    std::byte* const to = take(W.rows * stride);
    compute_.threads.parallel_for(W.rows, 4, [&](size_t begin, size_t end, size_t) {
      for (size_t r = begin; r < end; ++r) {
        if (info(W.dtype).block_bytes == 4) {
          gather<uint32_t>(W.row(r), to + r * stride);
        } else {
          gather<uint16_t>(W.row(r), to + r * stride);
        }
      }
    });
    return {W.dtype, to, W.rows, ids_.size(), stride};
  }

 private:
  template <class T>
  void gather(const std::byte* from, std::byte* to) {
    for (size_t i = 0; i < ids_.size(); ++i) std::memcpy(to + i * sizeof(T), from + ids_[i] * sizeof(T), sizeof(T));
  }
  std::byte* take(size_t n) {
    std::byte* const piece = at_;
    at_ += padded(n);
    return piece;
  }
  Compute& compute_;
  std::span<const uint32_t> ids_;
  std::byte* at_;
};

}  // namespace

uint64_t PackedMlps::bytes_needed(const ModelWeights& weights, std::span<const float> densities) {
  uint64_t bytes = 0;
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    const MlpWeights& m = weights.layers[l].mlp;
    if (m.n_ff && densities[l] < 1) bytes += bytes_of(m, size_t(std::ceil(densities[l] * double(m.n_ff))));
  }
  return bytes;
}

void PackedMlps::pack(const ModelWeights& weights, std::span<const Rows> kept, Compute& compute) {
  HUNCH_CHECK(kept.size() == weights.layers.size());
  uint64_t more = 0;
  arenas_.resize(kept.size());
  for (size_t l = 0; l < kept.size(); ++l) {
    const MlpWeights& m = weights.layers[l].mlp;
    if (m.n_ff == 0 || kept[l].is_all()) continue;
    HUNCH_CHECK(kept[l].n_total() == m.n_ff, "{} of {} neurons", kept[l].n_total(), m.n_ff);
    if (const size_t n = bytes_of(m, kept[l].size()); n > arenas_[l].size()) more += n;
  }
  require_memory(more, "the neurons that the prompt chose", "a lower --density takes less");
  layers_.assign(kept.size(), {});
  for (size_t l = 0; l < kept.size(); ++l) {
    const MlpWeights& m = weights.layers[l].mlp;
    PackedMlp& packed = layers_[l];
    packed.neurons = kept[l];
    if (m.n_ff == 0 || packed.is_all()) continue;
    if (const size_t n = bytes_of(m, kept[l].size()); n > arenas_[l].size()) {
      arenas_[l] = {};  // before the new one is taken
      arenas_[l] = AlignedBuffer(n);
    }
    Packer packer(compute, kept[l].ids(), arenas_[l].data());
    packed.up = packer.rows(m.up);
    if (m.gate.W) packed.gate = packer.rows(m.gate);
    switch (down_form(m)) {
      case DownForm::kRows: packed.W_down_t = packer.rows(m.W_down_t); break;
      case DownForm::kColumns: packed.down = packer.columns(m.down.W); break;
      case DownForm::kWhole: break;
    }
  }
}

uint64_t PackedMlps::bytes() const {
  uint64_t n = 0;
  for (const AlignedBuffer& arena : arenas_) n += arena.size();
  return n;
}

}  // namespace hunch
