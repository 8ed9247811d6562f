#include "device/step_buffers.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

// Sequences may share pages: tables may name one several times.
size_t table_words(size_t n_pages) { return 4 * n_pages + kMostDeviceTokens; }

std::span<const LayerConfig> layers_from(const ModelConfig& c, size_t first) {
  return std::span(c.layers).subspan(first);
}

template <class Of>
size_t most_of(std::span<const LayerConfig> layers, const Of& of) {
  size_t most = 0;
  for (const LayerConfig& l : layers) most = std::max<size_t>(most, of(l));
  return most;
}

struct Widths {
  size_t n_embd, n_q, n_kv, n_ff, n_vocab;
  uint64_t attention_bytes, add_bytes;

  explicit Widths(const ModelConfig& c, std::span<const LayerConfig> layers)
      : n_embd(c.n_embd),
        n_q(most_of(layers, [](const LayerConfig& l) { return l.n_head * l.d_head; })),
        n_kv(most_of(layers, [](const LayerConfig& l) { return l.n_kv_head * l.d_head; })),
        n_ff(most_of(layers, [](const LayerConfig& l) { return l.n_ff; })),
        n_vocab(c.n_vocab),
        attention_bytes(most_of(layers,
                                [](const LayerConfig& l) {
                                  return vulkan::Kernels::attention_bytes(uint32_t(l.n_head), uint32_t(l.d_head),
                                                                          kMostDeviceTokens);
                                })),
        add_bytes(vulkan::Kernels::part_bytes(uint32_t(c.n_embd), kMostDeviceTokens)) {}
};

constexpr uint64_t kBestBytes = uint64_t{kMostDeviceTokens} * kMostBest * 2 * sizeof(uint32_t);

// Keys, or values.
uint64_t page_bytes_of(const LayerConfig& l, const DeviceKv& kv) {
  return l.n_kv_head * kv.page_tokens * l.d_head * (kv.half ? 2 : 4);
}

}  // namespace

uint64_t DeviceKv::page_bytes(const ModelConfig& c, size_t first_layer) const {
  uint64_t bytes = 0;
  for (const LayerConfig& l : layers_from(c, first_layer)) bytes += 2 * page_bytes_of(l, *this);
  return bytes;
}

uint64_t StepBuffers::bytes(const ModelConfig& c, size_t first_layer, size_t n_positions) {
  const std::span<const LayerConfig> layers = layers_from(c, first_layer);
  const Widths w(c, layers);
  uint64_t n_values = kMostAdapterRank;
  for (const size_t n :
       {w.n_embd, w.n_embd, w.n_embd, w.n_embd, w.n_q, w.n_q, w.n_kv, w.n_kv, w.n_ff, w.n_ff, w.n_vocab})
    n_values += vulkan::padded(n);
  uint64_t bytes = n_values * kMostDeviceTokens * sizeof(float) + w.attention_bytes + w.add_bytes + kBestBytes;
  bytes += (1 + w.n_ff) * sizeof(uint32_t);
  for (const LayerConfig& l : layers) bytes += (3 + 2 * l.n_ff + l.n_kv_head) * sizeof(uint32_t);
  for (size_t i = 0; i < c.n_ropes(); ++i) bytes += n_positions * c.rope_number(i).n_rot * sizeof(float);
  return bytes;
}

StepBuffers::StepBuffers(const Model& model, size_t first_layer, const DeviceKv& kv, vulkan::Uploader& uploader,
                         vulkan::DeviceArena& arena, vulkan::DeviceArena& far) {
  const ModelConfig& c = model.config();
  const std::span<const LayerConfig> layers = layers_from(c, first_layer);
  const Widths w(c, layers);
  const auto zeros_of = [&](vulkan::DeviceArena& from, uint64_t bytes) {
    const vulkan::Piece piece = from.take(bytes);
    uploader.fill_zero(piece);
    return piece;
  };
  const auto zeros = [&](uint64_t bytes) { return zeros_of(arena, bytes); };
  const auto values = [&](size_t n) {
    const uint32_t stride = vulkan::padded(n);
    return vulkan::Values{zeros(uint64_t(kMostDeviceTokens) * stride * sizeof(float)), stride};
  };
  resid = values(w.n_embd);
  normed = values(w.n_embd);
  last = values(w.n_embd);
  cold = values(w.n_embd);
  q = values(w.n_q);
  heads = values(w.n_q);
  k = values(w.n_kv);
  v = values(w.n_kv);
  act = values(w.n_ff);
  ups = values(w.n_ff);
  logits = values(w.n_vocab);
  low_rank = values(kMostAdapterRank);
  best = arena.take(kBestBytes);
  chosen = arena.take((1 + w.n_ff) * sizeof(uint32_t));
  attention_parts = arena.take(w.attention_bytes);
  add_parts = arena.take(w.add_bytes);

  most_table_words = uint32_t(table_words(kv.n_pages));
  constexpr uint64_t kPart = kMostDeviceTokens * sizeof(uint32_t);
  inputs = zeros(4 * kPart + most_table_words * sizeof(uint32_t));
  ids = inputs;
  positions = inputs.behind(kPart);
  tables = inputs.behind(2 * kPart);
  rows = inputs.behind(3 * kPart);
  table = inputs.behind(4 * kPart);
  for (auto* lists : {&neurons, &live, &groups}) lists->resize(first_layer);
  pages.resize(first_layer);
  for (const LayerConfig& l : layers) {
    for (auto* lists : {&neurons, &live}) lists->push_back(arena.take((1 + l.n_ff) * sizeof(uint32_t)));
    groups.push_back(arena.take((1 + l.n_kv_head) * sizeof(uint32_t)));
    vulkan::Pages own{.n_near = uint32_t(kv.n_near),
                      .half = kv.half,
                      .positions = positions,
                      .tables = tables,
                      .table = table,
                      .n_kv_head = uint32_t(l.n_kv_head),
                      .d_head = uint32_t(l.d_head),
                      .page_tokens = uint32_t(kv.page_tokens)};
    own.k = zeros(kv.n_near * page_bytes_of(l, kv));
    own.v = zeros(kv.n_near * page_bytes_of(l, kv));
    if (kv.n_near < kv.n_pages) {
      own.far_k = zeros_of(far, (kv.n_pages - kv.n_near) * page_bytes_of(l, kv));
      own.far_v = zeros_of(far, (kv.n_pages - kv.n_near) * page_bytes_of(l, kv));
    }
    pages.push_back(own);
  }

  const size_t n_positions = kv.n_pages * kv.page_tokens;
  for (size_t i = 0; i < model.ropes().size(); ++i) {
    const bool used =
        std::any_of(layers.begin(), layers.end(), [&](const LayerConfig& l) { return l.rotates && l.rope == i; });
    if (!used) {
      turns.emplace_back();
      continue;
    }
    const RopeTable& rope = model.ropes()[i];
    if (rope.depends_on_length(n_positions))
      fail(ErrorKind::kUnsupported,
           "in a context (n_ctx) of {} tokens this model's RoPE changes with the length of the text, which devices do "
           "not compute yet; a context within the length that it was trained for does not",
           n_positions);
    const size_t n = rope.n_pairs();
    std::vector<double> own;
    const RopeTable::Frequencies frequencies = rope.frequencies(n_positions, own);
    std::vector<float> values_of(n_positions * 2 * n);
    for (size_t p = 0; p < n_positions; ++p) {
      const std::span<float> both = std::span(values_of).subspan(p * 2 * n, 2 * n);
      rope.at(p, frequencies, both.first(n), both.last(n));
    }
    turns.push_back(uploader.upload(arena, std::span<const float>(values_of)));
  }
}

}  // namespace hunch
