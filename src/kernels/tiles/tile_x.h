// Activations as the products in AMX tiles read them.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hunch {

// How closely bf16 stands for an f32 number: by its upper half (8 bits), or by that and what is left of it (16 bits).
enum class Bf16Parts : uint8_t { kUpper = 1, kBoth = 2 };

// X [n_tokens, n_in] in bf16, rounded to nearest even: pieces of kDepth columns, in each tiles of sixteen tokens, in
// each steps of 32 columns: [piece][tile][step][token][32]. So what is multiplied with a panel lies in one place: tiles
// that lie apart by a power of two would push each other out of the cache. The lower parts, where there are any, follow
// in the same order. What is no token or no column is zero. A view into scratch memory.
struct TileX {
  static constexpr size_t kTokens = 16, kColumns = 32, kDepth = 512, kStepValues = kTokens * kColumns;

  const uint16_t* data = nullptr;
  size_t n_tokens = 0, n_in = 0;
  Bf16Parts parts = Bf16Parts::kUpper;

  size_t n_tiles() const { return (n_tokens + kTokens - 1) / kTokens; }
  size_t part_values() const { return n_tiles() * n_steps() * kStepValues; }
  size_t bytes() const { return part_values() * size_t(parts) * sizeof(uint16_t); }
  // Steps of the piece that begins with column `from`, and where its tile i begins.
  size_t steps_of_piece(size_t from) const { return (std::min(kDepth, n_in - from) + kColumns - 1) / kColumns; }
  size_t offset(size_t from, size_t i) const {
    return (from / kColumns * n_tiles() + i * steps_of_piece(from)) * kStepValues;
  }

 private:
  size_t n_steps() const { return (n_in + kColumns - 1) / kColumns; }
};

}  // namespace hunch
