// What a step reads and writes on a device beside the weights: values between kernels, the cache's pages, and where the
// step's tokens are.
#pragma once
#include <vector>

#include "device/put_weights.h"

namespace hunch {

// The most tokens that one recorded step has; longer prompts take several.
constexpr uint32_t kMostDeviceTokens = 64;

struct StepBuffers {
  // Writes nothing but zeros, and the tables of RoPE. `n_pages` of so many tokens; half: keys and values are f16.
  // Throws Error{kMemory}, Error{kUnsupported} where RoPE changes with the length of texts that fit.
  StepBuffers(const Model& model, size_t n_pages, size_t page_tokens, bool half, vulkan::Uploader& uploader,
              vulkan::DeviceArena& arena);
  // Bytes that it takes of the device.
  static uint64_t bytes(const ModelConfig& c, size_t n_pages, size_t page_tokens, bool half);

  // [kMostDeviceTokens, n] each: last of the tokens whose logits are wanted.
  vulkan::Values resid, normed, q, k, v, heads, act, ups, last, logits;
  vulkan::Piece attention_parts, add_parts;
  // [n_layer] of one token: the neurons that are computed, those of them that are live, and groups of heads.
  std::vector<vulkan::Piece> neurons, live, groups;
  std::vector<vulkan::Pages> pages;  // [n_layer]
  std::vector<vulkan::Piece> turns;  // of each rope, or none where no layer uses it
  // In one piece, which every step is told anew: ids, positions, table starts and rows of logits [kMostDeviceTokens
  // each], then page tables.
  vulkan::Piece inputs, ids, positions, tables, rows, table;
  uint32_t most_table_words = 0;
};

}  // namespace hunch
