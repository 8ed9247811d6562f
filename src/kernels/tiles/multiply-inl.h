// The products in tiles: 32 tokens times the 32 rows of a panel.
#if defined(HUNCH_KERNELS_TILES_MULTIPLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_MULTIPLY_INL_H_
#undef HUNCH_KERNELS_TILES_MULTIPLY_INL_H_
#else
#define HUNCH_KERNELS_TILES_MULTIPLY_INL_H_
#endif
#include <immintrin.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/tiles/pairs-inl.h"
#include "kernels/tiles/tile_x.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

// All eight tiles: sixteen lines of 64 bytes, until the end of the scope.
class Configured {
 public:
  Configured() {
    struct alignas(64) Config {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes_of_line[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t lines[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    static_assert(sizeof(Config) == 64);
    const Config config;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    _tile_loadconfig(&config);
  }
  ~Configured() { _tile_release(); }
  Configured(const Configured&) = delete;
  Configured& operator=(const Configured&) = delete;
};

// The compiler does not know that tiles are loaded from and stored to memory.
HWY_INLINE void MemoryFence() { asm volatile("" ::: "memory"); }

// Sums of two tiles of tokens with two of rows: [token tile][row tile][16][16].
constexpr size_t kTileSums = 256, kSums = 4 * kTileSums;

// Where the sums of a product of two tiles of tokens with two of rows come from and go to: four tiles, by tokens and
// then rows, whose lines lie so many bytes apart.
struct SumsPlace {
  float* tile[4];
  size_t line_bytes;
};
HWY_INLINE SumsPlace InScratch(float* sums) {
  return {{sums, sums + kTileSums, sums + 2 * kTileSums, sums + 3 * kTileSums}, kLineBytes};
}

// The right-hand factor: tiles of strips of sixteen rows, [part][strip][step], strips and parts so far apart.
struct Panel {
  const std::byte* data;
  size_t strip_bytes = kStripOfPanel, part_bytes = kPartOfPanel;
};

// Sums of x . w over n_steps of 32 columns, added to those in `from`. x0, x1: steps of the upper parts of two tiles of
// tokens, of which the second may be missing; `x_lower` values further on are the lower ones. The panel stays in the
// first cache while x passes by, asked for as what is not needed again. aside() is called at every step.
template <size_t kParts, size_t kXParts, bool kTwo, class Aside>
HWY_INLINE void MultiplyPair(const uint16_t* x0, const uint16_t* x1, size_t x_lower, const Panel& panel, size_t n_steps,
                             const SumsPlace& from, const SumsPlace& to, const Aside& aside) {
  constexpr int kLine = 64;
  MemoryFence();
  _tile_loadd(0, from.tile[0], from.line_bytes);
  _tile_loadd(1, from.tile[1], from.line_bytes);
  if constexpr (kTwo) {
    _tile_loadd(2, from.tile[2], from.line_bytes);
    _tile_loadd(3, from.tile[3], from.line_bytes);
  }
  for (size_t i = 0; i < n_steps; ++i) {
    const std::byte* w = panel.data + i * kTileBytes;
    const size_t at = i * TileX::kStepValues;
    if constexpr (kParts == 2) {  // upper x, lower w
      _tile_loadd(6, w + panel.part_bytes, kLine);
      _tile_stream_loadd(4, x0 + at, kLine);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, w + panel.part_bytes + panel.strip_bytes, kLine);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_stream_loadd(5, x1 + at, kLine);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_loadd(6, w, kLine);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, w + panel.strip_bytes, kLine);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    } else {
      _tile_loadd(6, w, kLine);
      _tile_stream_loadd(4, x0 + at, kLine);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, w + panel.strip_bytes, kLine);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_stream_loadd(5, x1 + at, kLine);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    if constexpr (kXParts == 2) {  // lower x, upper w
      _tile_stream_loadd(4, x0 + x_lower + at, kLine);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_stream_loadd(5, x1 + x_lower + at, kLine);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    aside();
  }
  _tile_stored(0, to.tile[0], to.line_bytes);
  _tile_stored(1, to.tile[1], to.line_bytes);
  if constexpr (kTwo) {
    _tile_stored(2, to.tile[2], to.line_bytes);
    _tile_stored(3, to.tile[3], to.line_bytes);
  }
  MemoryFence();
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
