#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/int8_tiles.cc"
#include "kernels/int8_tiles.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/int8_sums-inl.h"

// Attributes as in kernels/tiles/target.h, which has those of bf16.
#undef HUNCH_INT8_TILES
#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3 && (HWY_COMPILER_GCC_ACTUAL >= 1100 || HWY_COMPILER_CLANG >= 1200)
#define HUNCH_INT8_TILES 1
#else
#define HUNCH_INT8_TILES 0
#endif

#if HUNCH_INT8_TILES
#include <immintrin.h>
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",amx-tile,amx-int8")
namespace hunch {
namespace HWY_NAMESPACE {
namespace {

constexpr size_t kTileBytes = 1024, kTileSums = 256, kPairSums = 4 * kTileSums;
// Columns whose part of two strips stays in the first cache, and tokens whose sums stay in the second.
constexpr size_t kDepth = 1024, kTilesOfBlock = 32;

// All eight tiles: sixteen lines of 64 bytes, until the end of the scope.
class Int8Configured {
 public:
  Int8Configured() {
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
  ~Int8Configured() { _tile_release(); }
  Int8Configured(const Int8Configured&) = delete;
  Int8Configured& operator=(const Int8Configured&) = delete;
};

// Two tiles of tokens, of which the second may be missing, times a piece of two strips, added to `sums` [2][2] tiles,
// which begin with 0 where the piece is the first. Steps of x0 lie step0 bytes apart.
template <bool kTwo>
HWY_INLINE void MultiplyInt8Pair(const int8_t* x0, size_t step0, const int8_t* x1, size_t step1, const int8_t* w0,
                                 const int8_t* w1, size_t n_steps, bool is_first, int32_t* sums) {
  asm volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from and stored to memory
  if (is_first) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTwo) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + kTileSums, 64);
    if constexpr (kTwo) {
      _tile_loadd(2, sums + 2 * kTileSums, 64);
      _tile_loadd(3, sums + 3 * kTileSums, 64);
    }
  }
  for (size_t i = 0; i < n_steps; ++i) {
    _tile_loadd(6, w0 + i * kTileBytes, 64);
    _tile_stream_loadd(4, x0 + i * step0, 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, w1 + i * kTileBytes, 64);
    _tile_dpbssd(1, 4, 7);
    if constexpr (kTwo) {
      _tile_stream_loadd(5, x1 + i * step1, 64);
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kTileSums, 64);
  if constexpr (kTwo) {
    _tile_stored(2, sums + 2 * kTileSums, 64);
    _tile_stored(3, sums + 3 * kTileSums, 64);
  }
  asm volatile("" ::: "memory");
}

// Tiles of tokens [first, last) times strips [begin, end).
void Int8Block(const Int8Tokens& x, const Int8Task& task, size_t begin, size_t end, size_t first, size_t last,
               int32_t* sums) {
  const size_t n_padded = x.n_padded(), n_pairs = (last - first + 1) / 2, strip_bytes = int8_strip_bytes(x.n_in);
  for (size_t from = 0; from < n_padded; from += kDepth) {
    const size_t n_steps = std::min(kDepth, n_padded - from) / kInt8Step;
    int32_t* to = sums;
    for (size_t s = begin; s < end; s += 2) {
      const int8_t* w0 = task.strips + s * strip_bytes + from * kInt8StripRows;
      const int8_t* w1 = s + 1 < end ? w0 + strip_bytes : w0;
      for (size_t i = first; i < last; i += 2, to += kPairSums) {
        const size_t step0 = x.step_bytes(i * 16);
        const int8_t* x0 = x.token(i * 16) + from / kInt8Step * step0;
        if (i + 1 < last) {
          const size_t step1 = x.step_bytes(i * 16 + 16);
          MultiplyInt8Pair<true>(x0, step0, x.token(i * 16 + 16) + from / kInt8Step * step1, step1, w0, w1, n_steps,
                                 from == 0, to);
        } else {
          MultiplyInt8Pair<false>(x0, step0, x0, step0, w0, w1, n_steps, from == 0, to);
        }
      }
    }
  }
  constexpr size_t kAhead = 8;
  const size_t end_token = std::min(x.n_tokens, last * 16);
  for (size_t t = first * 16; t < end_token; ++t)
    for (size_t s = begin; s < end; ++s) {
      // The lines of later tokens are far away.
      if (t + kAhead < end_token)
        __builtin_prefetch(task.Y.data + (t + kAhead) * task.Y.row_stride + s * kInt8StripRows, 1);
      const size_t pair = (s - begin) / 2 * n_pairs + (t / 16 - first) / 2;
      WriteSums(
          x, task, s, t,
          sums + pair * kPairSums + (t / 16 - first) % 2 * 2 * kTileSums + (s - begin) % 2 * kTileSums + t % 16 * 16);
    }
}

}  // namespace

bool MultipliesInt8Tiles() { return has_amx_int8(); }

size_t Int8ScratchBytes(size_t n_tokens) {
  const size_t n_tiles = std::min(kTilesOfBlock, (n_tokens + 15) / 16);
  return kInt8TileStrips / 2 * ((n_tiles + 1) / 2) * kPairSums * sizeof(int32_t);
}

void MultiplyInt8Tiles(const Int8Tokens& x, const Int8Task& task, size_t begin, size_t end, std::byte* scratch) {
  const Int8Configured configured;
  const size_t n_tiles = (x.n_tokens + 15) / 16;
  for (size_t first = 0; first < n_tiles; first += kTilesOfBlock)
    Int8Block(x, task, begin, end, first, std::min(n_tiles, first + kTilesOfBlock),
              reinterpret_cast<int32_t*>(scratch));
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES

#else
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
bool MultipliesInt8Tiles() { return false; }
size_t Int8ScratchBytes(size_t) { return 0; }
void MultiplyInt8Tiles(const Int8Tokens&, const Int8Task&, size_t, size_t, std::byte*) {
  HUNCH_CHECK(false, "no tiles");
}
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_TILES

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(MultipliesInt8Tiles);
HWY_EXPORT(Int8ScratchBytes);
HWY_EXPORT(MultiplyInt8Tiles);

bool multiplies_int8_tiles() { return HWY_DYNAMIC_DISPATCH(MultipliesInt8Tiles)(); }
size_t int8_tile_scratch_bytes(size_t n_tokens) { return HWY_DYNAMIC_DISPATCH(Int8ScratchBytes)(n_tokens); }
void multiply_int8_tiles(const Int8Tokens& x, const Int8Task& task, size_t begin, size_t end, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(MultiplyInt8Tiles)(x, task, begin, end, scratch);
}
}  // namespace hunch
#endif
