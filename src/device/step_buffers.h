// What a step reads and writes on a device beside the weights: values between kernels, the cache's pages, and where the
// step's tokens are.
#pragma once
#include <vector>

#include "device/put_weights.h"

namespace hunch {

// The most tokens that one recorded step has; longer prompts take several.
constexpr uint32_t kMostDeviceTokens = 64;
// The largest rank of an adapter, or of several that are added up.
constexpr uint32_t kMostAdapterRank = 256;
// The most logits of a row that come back alone (Run::n_best); who wants more gets all.
constexpr uint32_t kMostBest = 256;

// A cache on a device.
struct DeviceKv {
  size_t n_pages = 0;
  size_t n_near = 0;  // of these, on the device itself; the others lie in memory of the host
  size_t page_tokens = 0;
  bool half = false;  // keys and values are f16, else f32

  // One page of the layers that the device has.
  uint64_t page_bytes(const ModelConfig& c, size_t first_layer) const;
};

struct StepBuffers {
  // Writes nothing but zeros, and the tables of RoPE. Layers before `first_layer` have nothing here; `far`: of pages
  // that do not lie on the device. Throws Error{kMemory}, Error{kUnsupported} where RoPE changes with the length of
  // texts that fit.
  StepBuffers(const Model& model, size_t first_layer, const DeviceKv& kv, vulkan::Uploader& uploader,
              vulkan::DeviceArena& arena, vulkan::DeviceArena& far);
  // Bytes that it takes of the device, but for pages.
  static uint64_t bytes(const ModelConfig& c, size_t first_layer, size_t n_positions);

  // [kMostDeviceTokens, n] each: last of the tokens whose logits are wanted.
  vulkan::Values resid, normed, q, k, v, heads, act, ups, last, logits;
  vulkan::Values cold;      // what the processor's neurons add
  vulkan::Values low_rank;  // what adapters make of an input, [kMostDeviceTokens, kMostAdapterRank]
  vulkan::Piece attention_parts, add_parts;
  vulkan::Piece best;  // [kMostDeviceTokens][kMostBest] ids and logits
  // [n_layer] of one token: the neurons that are computed, those of them that are live, and groups of heads.
  std::vector<vulkan::Piece> neurons, live, groups;
  vulkan::Piece chosen;  // [1 + n_ff] of the layer that is computed, the processor's neurons that a predictor chose
  std::vector<vulkan::Pages> pages;  // [n_layer]
  std::vector<vulkan::Piece> turns;  // of each rope, or none where no layer uses it
  // In one piece, which every step is told anew: ids, positions, table starts and rows of logits [kMostDeviceTokens
  // each], then page tables.
  vulkan::Piece inputs, ids, positions, tables, rows, table;
  uint32_t most_table_words = 0;
};

}  // namespace hunch
