#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_tiles.cc"
#include "kernels/gemm_tiles.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/gemm_bf16.h"
#include "kernels/tiles/add_rows-inl.h"
#include "kernels/tiles/fill-inl.h"
#include "kernels/tiles/multiply-inl.h"
#include "kernels/tiles/multiply_vectors-inl.h"
#include "kernels/tiles/pack_x-inl.h"
#include "kernels/tiles/target.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

// Tokens whose sums are kept at a time, in the second-level cache with their columns of x.
constexpr size_t kTilesOfBlock = 32;
constexpr size_t kRowsOfBlock = 128;  // x is read once for so many
constexpr size_t kMostRows = kTileTransposedColumns;
static_assert(kRowsOfBlock <= kMostRows);

size_t PairsOfBlock(size_t n_tokens) {
  return (std::min(kTilesOfBlock, (n_tokens + TileX::kTokens - 1) / TileX::kTokens) + 1) / 2;
}

// A range of tokens, in tiles.
struct Tiles {
  size_t first, last;
  size_t n_pairs() const { return (last - first + 1) / 2; }
};

// Y[token, begin .. end) = sums, as MultiplyPanel() leaves them.
void WriteOut(const GemmArgs& a, const TileX& x, const Tiles& tiles, size_t begin, size_t end, const float* sums) {
  constexpr size_t kAhead = 8;  // tokens: their lines are far away
  const size_t first = tiles.first * TileX::kTokens,
               n_tokens = std::min(tiles.last * TileX::kTokens, x.n_tokens) - first;
  for (size_t t = 0; t < n_tokens; ++t) {
    float* y = a.Y.data + (first + t) * a.Y.row_stride;
    const float* from = sums + t / 32 * kSums + t / 16 % 2 * 2 * kTileSums + t % 16 * 16;
    for (size_t row = begin; row < end; row += 16) {
      const size_t strip = (row - begin) / 16, n = std::min<size_t>(16, end - row);
      __builtin_prefetch(y + kAhead * a.Y.row_stride + row, 1);
      _mm512_mask_storeu_ps(y + row, FirstLanes(n),
                            _mm512_load_ps(from + strip / 2 * tiles.n_pairs() * kSums + strip % 2 * kTileSums));
    }
  }
}

// What multiplies: AMX, of one or both parts of W and of X, or the vector units, of upper parts.
template <size_t kWParts, size_t kXParts>
struct InTiles {
  static constexpr size_t kParts = kWParts;
  // The same with another number of parts of W.
  template <size_t kOther>
  using With = InTiles<kOther, kXParts>;
  Configured configured;

  template <bool kTwo, class Aside>
  static HWY_INLINE void Pair(const uint16_t* x0, const uint16_t* x1, size_t x_lower, const Panel& panel,
                              size_t n_steps, const SumsPlace& from, const SumsPlace& to, const Aside& aside) {
    MultiplyPair<kParts, kXParts, kTwo>(x0, x1, x_lower, panel, n_steps, from, to, aside);
  }
};
struct InVectors {
  static constexpr size_t kParts = 1;
  template <size_t>
  using With = InVectors;

  template <bool kTwo, class Aside>
  static HWY_INLINE void Pair(const uint16_t* x0, const uint16_t* x1, size_t, const Panel& panel, size_t n_steps,
                              const SumsPlace& from, const SumsPlace& to, const Aside&) {
    MultiplyPairInVectors<kTwo>(x0, x1, panel, n_steps, from, to);
  }
};

// The sums of tiles of x with a panel of its columns `from` on, [pair][2 x 2 tiles]: they begin with `start`, the bias
// of the panel's rows, or are added to. `more` is done on the side, a piece at a time.
template <class Unit, class More>
HWY_NOINLINE void MultiplyPanel(const TileX& x, const Tiles& tiles, size_t from, const std::byte* panel, float* start,
                                float* sums, More* more) {
  const size_t lower = x.part_values(), n_steps = x.steps_of_piece(from), tile_values = n_steps * TileX::kStepValues;
  const size_t n_calls = tiles.n_pairs() * n_steps;
  const size_t n_aside = more ? (more->n_pieces() + n_calls - 1) / n_calls : 0;
  const auto aside = [&] {
    for (size_t k = 0; k < n_aside; ++k) (*more)();
  };
  const uint16_t* x0 = x.data + x.offset(from, tiles.first);
  for (size_t i = tiles.first; i < tiles.last; i += 2, sums += kSums, x0 += 2 * tile_values) {
    const SumsPlace there = InScratch(sums);
    const SumsPlace before = from == 0 ? SumsPlace{{start, start + 16, start, start + 16}, 0} : there;
    if (i + 1 < tiles.last) {
      Unit::template Pair<true>(x0, x0 + tile_values, lower, Panel{panel}, n_steps, before, there, aside);
    } else {
      Unit::template Pair<false>(x0, x0, lower, Panel{panel}, n_steps, before, there, aside);
    }
  }
  while (more && more->some_left()) (*more)();
}
// The same; most F16 weights were trained in bf16, so that a panel often has nothing in its lower parts.
template <class Unit, class More>
void MultiplyPanel(bool has_lower, const TileX& x, const Tiles& tiles, size_t from, const std::byte* panel,
                   float* start, float* sums, More* more) {
  Unit::kParts == 2 && has_lower
      ? MultiplyPanel<Unit>(x, tiles, from, panel, start, sums, more)
      : MultiplyPanel<typename Unit::template With<1>>(x, tiles, from, panel, start, sums, more);
}

// Bias of the panels of at most kMostRows rows.
struct Start {
  Start(const GemmArgs& a, size_t begin, size_t end) {
    if (a.bias) std::copy(a.bias + begin, a.bias + end, values);
  }
  alignas(64) float values[kMostRows] = {};
};

// Rows [begin, end), at most kMostRows. While a panel is multiplied the next is filled.
template <class Unit, class Filler>
void Block(const GemmArgs& a, const TileX& x, size_t begin, size_t end, const Tiles& tiles, std::byte* panels,
           float* sums, Filler& filler) {
  const size_t n_panels = (end - begin + kTilePanelRows - 1) / kTilePanelRows,
               n = n_panels * ((x.n_in + kTileDepth - 1) / kTileDepth);
  Start start(a, begin, end);
  const auto fill = [&](size_t i) {
    const size_t from = i / n_panels * kTileDepth;
    filler.begin(a.W, begin + i % n_panels * kTilePanelRows, from, std::min(kTileDepth, x.n_in - from),
                 panels + i % 2 * 2 * kPartOfPanel);
  };
  fill(0);
  while (filler.some_left()) filler();
  for (size_t i = 0; i < n; ++i) {
    const size_t at = i % n_panels;
    const bool has_lower = filler.has_lower();
    if (i + 1 < n) fill(i + 1);
    MultiplyPanel<Unit>(has_lower, x, tiles, i / n_panels * kTileDepth, panels + i % 2 * 2 * kPartOfPanel,
                        start.values + at * kTilePanelRows, sums + at * tiles.n_pairs() * kSums,
                        i + 1 < n ? &filler : nullptr);
  }
  WriteOut(a, x, tiles, begin, end, sums);
}

// The same of a transposed product.
template <class Unit, class F>
void TransposedBlock(const GemmArgs& a, const TileX& x, size_t begin, size_t end, const Tiles& tiles, std::byte* panels,
                     float* sums) {
  Start start(a, begin, end);
  for (size_t from = 0; from < x.n_in; from += kTileDepth) {
    // All panels of the columns are filled together: rows of W lie along the columns.
    const bool has_lower =
        FillTransposed<F, Unit::kParts>(a.W, begin, end - begin, from, std::min(kTileDepth, x.n_in - from), panels);
    for (size_t at = 0; begin + at * kTilePanelRows < end; ++at)
      MultiplyPanel<Unit, RowFiller<F, Unit::kParts>>(
          has_lower, x, tiles, from, panels + at * Unit::kParts * kPartOfPanel, start.values + at * kTilePanelRows,
          sums + at * tiles.n_pairs() * kSums, nullptr);
  }
  WriteOut(a, x, tiles, begin, end, sums);
}

// body(begin, end, tiles) for `most` rows and kTilesOfBlock tiles at a time.
template <class Body>
void for_blocks(const TileX& x, size_t begin, size_t end, size_t most, const Body& body) {
  for (size_t tile = 0; tile < x.n_tiles(); tile += kTilesOfBlock)
    for (size_t row = begin; row < end; row += most)
      body(row, std::min(end, row + most), Tiles{tile, std::min(x.n_tiles(), tile + kTilesOfBlock)});
}

template <class F>
concept Suiting = !std::is_same_v<F, format::F32>;

template <class F>
constexpr size_t parts_of() {
  return std::is_same_v<F, format::F16> ? 2 : 1;
}
template <class F>
constexpr size_t x_parts_of() {
  return PlainFormat<F> ? 2 : 1;
}

// body(unit) with what multiplies these factors on this machine.
template <class F, class Body>
void with_unit(const TileX& x, const Body& body) {
  if constexpr (FloatFormat<F>)
    if (!has_amx_bf16()) return body(InVectors());
  if constexpr (PlainFormat<F> && Suiting<F>)
    if (x.parts == Bf16Parts::kBoth) return body(InTiles<parts_of<F>(), x_parts_of<F>()>());
  body(InTiles<1, 1>());
}

}  // namespace tiles

bool MultipliesTiles() { return has_amx_bf16(); }

void PackX(MatView<const float> X, const TileX& x, size_t begin, size_t end, uint16_t* memory) {
  x.parts == Bf16Parts::kBoth ? tiles::PackX<2>(X, x, begin, end, memory) : tiles::PackX<1>(X, x, begin, end, memory);
}

// Panels with both parts, then the sums.
size_t PanelBytes(size_t n_tokens, size_t n_panels) {
  return n_panels * 2 * tiles::kPartOfPanel +
         tiles::kMostRows / kTilePanelRows * tiles::PairsOfBlock(n_tokens) * tiles::kSums * sizeof(float);
}
size_t RowPanelBytes(size_t n_tokens) { return PanelBytes(n_tokens, 2); }
constexpr size_t kTransposedPanels = kTileTransposedColumns / kTilePanelRows;
size_t TransposedPanelBytes(size_t n_tokens) { return PanelBytes(n_tokens, kTransposedPanels); }

void GemmTiles(const GemmArgs& a, const TileX& x, size_t begin, size_t end, std::byte* panels) {
  auto* sums = reinterpret_cast<float*>(panels + 2 * 2 * tiles::kPartOfPanel);
  with_format(a.W.dtype, [&](auto f) {
    using F = decltype(f);
    tiles::with_unit<F>(x, [&](const auto& unit) {
      using Unit = std::remove_cvref_t<decltype(unit)>;
      const auto blocks = [&](auto filler) HUNCH_TILES_ATTR {
        tiles::for_blocks(x, begin, end, tiles::kRowsOfBlock,
                          [&](size_t row, size_t row_end, const tiles::Tiles& tokens) {
                            tiles::Block<Unit>(a, x, row, row_end, tokens, panels, sums, filler);
                          });
      };
      if constexpr (BlockFormat<F>)
        if (a.W.strips) return blocks(tiles::StripFiller<F>());
      blocks(tiles::RowFiller<F, Unit::kParts>());
    });
  });
}

void GemmTilesTransposed(const GemmArgs& a, const TileX& x, size_t begin, size_t end, std::byte* panels) {
  auto* sums = reinterpret_cast<float*>(panels + kTransposedPanels * 2 * tiles::kPartOfPanel);
  with_format(a.W.dtype, [&](auto f) {
    using F = decltype(f);
    tiles::with_unit<F>(x, [&](const auto& unit) {
      using Unit = std::remove_cvref_t<decltype(unit)>;
      tiles::for_blocks(x, begin, end, kTileTransposedColumns,
                        [&](size_t column, size_t column_end, const tiles::Tiles& tokens) {
                          tiles::TransposedBlock<Unit, F>(a, x, column, column_end, tokens, panels, sums);
                        });
    });
  });
}

void AddRowsInTiles(const AxpyArgs& args, size_t begin, size_t end, float* sums) {
  const tiles::Configured configured;
  with_format(args.W.dtype, [&](tiles::Suiting auto f) {
    tiles::AddRows<decltype(f), tiles::parts_of<decltype(f)>(), tiles::x_parts_of<decltype(f)>()>(args, begin, end,
                                                                                                  sums);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();

#else
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
bool MultipliesTiles() { return false; }
void PackX(MatView<const float>, const TileX&, size_t, size_t, uint16_t*) { HUNCH_CHECK(false, "no tiles"); }
size_t RowPanelBytes(size_t) { return 0; }
size_t TransposedPanelBytes(size_t) { return 0; }
void GemmTiles(const GemmArgs&, const TileX&, size_t, size_t, std::byte*) { HUNCH_CHECK(false, "no tiles"); }
void GemmTilesTransposed(const GemmArgs&, const TileX&, size_t, size_t, std::byte*) { HUNCH_CHECK(false, "no tiles"); }
void AddRowsInTiles(const AxpyArgs&, size_t, size_t, float*) { HUNCH_CHECK(false, "no tiles"); }
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_TILES

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(MultipliesTiles);
HWY_EXPORT(PackX);
HWY_EXPORT(RowPanelBytes);
HWY_EXPORT(TransposedPanelBytes);
HWY_EXPORT(GemmTiles);
HWY_EXPORT(GemmTilesTransposed);
HWY_EXPORT(AddRowsInTiles);

bool multiplies_tiles() { return HWY_DYNAMIC_DISPATCH(MultipliesTiles)(); }
bool suits_tiles(DType dtype, Precision precision) {
  if (multiplies_tiles()) return dtype != DType::kF32 || precision == Precision::kBf16;
  return multiplies_floats(dtype) && precision == Precision::kBf16 && multiplies_bf16();
}
Bf16Parts tile_parts(DType dtype, Precision precision) {
  return is_plain(dtype) && precision == Precision::kF32 ? Bf16Parts::kBoth : Bf16Parts::kUpper;
}
void pack_tile_x(MatView<const float> X, const TileX& x, size_t begin, size_t end, uint16_t* memory) {
  HWY_DYNAMIC_DISPATCH(PackX)(X, x, begin, end, memory);
}
size_t tile_panel_bytes(size_t n_tokens) { return HWY_DYNAMIC_DISPATCH(RowPanelBytes)(n_tokens); }
void gemm_tiles(const GemmArgs& args, const TileX& x, size_t begin, size_t end, std::byte* panel) {
  HWY_DYNAMIC_DISPATCH(GemmTiles)(args, x, begin, end, panel);
}
size_t tile_transposed_panel_bytes(size_t n_tokens) { return HWY_DYNAMIC_DISPATCH(TransposedPanelBytes)(n_tokens); }
void gemm_tiles_transposed(const GemmArgs& args, const TileX& x, size_t begin, size_t end, std::byte* panel) {
  HWY_DYNAMIC_DISPATCH(GemmTilesTransposed)(args, x, begin, end, panel);
}
void add_rows_in_tiles(const AxpyArgs& args, size_t begin, size_t end, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddRowsInTiles)(args, begin, end, sums);
}
}  // namespace hunch
#endif
