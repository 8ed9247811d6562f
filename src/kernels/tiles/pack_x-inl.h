// Activations to bf16 in tiles; tile_x.h describes them.
#if defined(HUNCH_KERNELS_TILES_PACK_X_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_PACK_X_INL_H_
#undef HUNCH_KERNELS_TILES_PACK_X_INL_H_
#else
#define HUNCH_KERNELS_TILES_PACK_X_INL_H_
#endif
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/view.h"
#include "hwy/highway.h"
#include "kernels/tiles/pairs-inl.h"
#include "kernels/tiles/tile_x.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

template <size_t kParts>
HWY_NOINLINE void PackX(MatView<const float> X, const TileX& x, size_t begin, size_t end, uint16_t* memory) {
  const size_t lower = x.part_values();
  for (size_t from = 0; from < x.n_in; from += TileX::kDepth) {
    const size_t n_steps = x.steps_of_piece(from);
    for (size_t tile = begin; tile < end; ++tile) {
      for (size_t i = 0; i < TileX::kTokens; ++i) {
        const size_t token = tile * TileX::kTokens + i;
        uint16_t* to = memory + x.offset(from, tile) + i * TileX::kColumns;
        for (size_t step = 0; step < n_steps; ++step, to += TileX::kStepValues) {
          const size_t column = from + step * TileX::kColumns;
          __m512 first = _mm512_setzero_ps(), second = first;
          if (token < x.n_tokens) {
            const float* v = X.data + token * X.row_stride + column;
            const size_t n = std::min(TileX::kColumns, x.n_in - column);
            first = _mm512_maskz_loadu_ps(FirstLanes(n), v);
            second = n > 16 ? _mm512_maskz_loadu_ps(FirstLanes(n - 16), v + 16) : second;
          }
          const __m512i upper = Rounded(first, second);
          _mm512_store_si512(to, upper);
          if constexpr (kParts == 2) _mm512_store_si512(to + lower, RoundedLeft(first, second, upper));
        }
      }
    }
  }
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
