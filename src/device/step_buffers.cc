#include "device/step_buffers.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

// Sequences may share pages: tables may name one several times.
size_t table_words(size_t n_pages) { return 4 * n_pages + kMostDeviceTokens; }

size_t most_of(const ModelConfig& c, size_t LayerConfig::*size) {
  size_t most = 0;
  for (const LayerConfig& l : c.layers) most = std::max(most, l.*size);
  return most;
}

template <class Of>
size_t most_of(const ModelConfig& c, const Of& of) {
  size_t most = 0;
  for (const LayerConfig& l : c.layers) most = std::max(most, of(l));
  return most;
}

struct Widths {
  size_t n_embd, n_q, n_kv, n_ff, n_vocab;
  uint64_t attention_bytes, add_bytes;

  explicit Widths(const ModelConfig& c)
      : n_embd(c.n_embd),
        n_q(most_of(c, [](const LayerConfig& l) { return l.n_head * l.d_head; })),
        n_kv(most_of(c, [](const LayerConfig& l) { return l.n_kv_head * l.d_head; })),
        n_ff(most_of(c, &LayerConfig::n_ff)),
        n_vocab(c.n_vocab),
        attention_bytes(most_of(c,
                                [](const LayerConfig& l) {
                                  return vulkan::Kernels::attention_bytes(uint32_t(l.n_head), uint32_t(l.d_head),
                                                                          kMostDeviceTokens);
                                })),
        add_bytes(vulkan::Kernels::part_bytes(uint32_t(c.n_embd), kMostDeviceTokens)) {}
};

uint64_t page_bytes(const LayerConfig& l, size_t page_tokens, bool half) {
  return l.n_kv_head * page_tokens * l.d_head * (half ? 2 : 4);
}

}  // namespace

uint64_t StepBuffers::bytes(const ModelConfig& c, size_t n_pages, size_t page_tokens, bool half) {
  const Widths w(c);
  uint64_t n_values = 0;
  for (const size_t n : {w.n_embd, w.n_embd, w.n_embd, w.n_q, w.n_q, w.n_kv, w.n_kv, w.n_ff, w.n_ff, w.n_vocab})
    n_values += vulkan::padded(n);
  uint64_t bytes = n_values * kMostDeviceTokens * sizeof(float) + w.attention_bytes + w.add_bytes;
  for (const LayerConfig& l : c.layers)
    bytes += 2 * n_pages * page_bytes(l, page_tokens, half) + (3 + 2 * l.n_ff + l.n_kv_head) * sizeof(uint32_t);
  for (size_t i = 0; i < c.n_ropes(); ++i) bytes += n_pages * page_tokens * c.rope_number(i).n_rot * sizeof(float);
  return bytes;
}

StepBuffers::StepBuffers(const Model& model, size_t n_pages, size_t page_tokens, bool half, vulkan::Uploader& uploader,
                         vulkan::DeviceArena& arena) {
  const ModelConfig& c = model.config();
  const Widths w(c);
  const auto zeros = [&](uint64_t bytes) {
    const vulkan::Piece piece = arena.take(bytes);
    uploader.fill_zero(piece);
    return piece;
  };
  const auto values = [&](size_t n) {
    const uint32_t stride = vulkan::padded(n);
    return vulkan::Values{zeros(uint64_t(kMostDeviceTokens) * stride * sizeof(float)), stride};
  };
  resid = values(w.n_embd);
  normed = values(w.n_embd);
  last = values(w.n_embd);
  q = values(w.n_q);
  heads = values(w.n_q);
  k = values(w.n_kv);
  v = values(w.n_kv);
  act = values(w.n_ff);
  ups = values(w.n_ff);
  logits = values(w.n_vocab);
  attention_parts = arena.take(w.attention_bytes);
  add_parts = arena.take(w.add_bytes);

  most_table_words = uint32_t(table_words(n_pages));
  constexpr uint64_t kPart = kMostDeviceTokens * sizeof(uint32_t);
  inputs = zeros(4 * kPart + most_table_words * sizeof(uint32_t));
  ids = inputs;
  positions = inputs.behind(kPart);
  tables = inputs.behind(2 * kPart);
  rows = inputs.behind(3 * kPart);
  table = inputs.behind(4 * kPart);
  for (const LayerConfig& l : c.layers) {
    for (auto* lists : {&neurons, &live}) lists->push_back(arena.take((1 + l.n_ff) * sizeof(uint32_t)));
    groups.push_back(arena.take((1 + l.n_kv_head) * sizeof(uint32_t)));
    const uint64_t bytes = n_pages * page_bytes(l, page_tokens, half);
    pages.push_back({.k = zeros(bytes),
                     .v = zeros(bytes),
                     .half = half,
                     .positions = positions,
                     .tables = tables,
                     .table = table,
                     .n_kv_head = uint32_t(l.n_kv_head),
                     .d_head = uint32_t(l.d_head),
                     .page_tokens = uint32_t(page_tokens)});
  }

  const size_t n_positions = n_pages * page_tokens;
  for (size_t i = 0; i < model.ropes().size(); ++i) {
    const bool used =
        std::any_of(c.layers.begin(), c.layers.end(), [&](const LayerConfig& l) { return l.rotates && l.rope == i; });
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
