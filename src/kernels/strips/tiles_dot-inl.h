// Strips of a quantised matrix times several tokens in AMX tiles of int8: a strip's unpacked lines are the right-hand
// factor as they are. A tile sums a block of 32 columns (or 16) for sixteen tokens and sixteen rows; the sums are
// scaled and added in f32 as strips/dot-inl.h does it, so that a token's bits are the same. For inclusion by strips.cc,
// once per SIMD target.
#if defined(HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_
#undef HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_
#endif
#include <atomic>

#include "kernels/strips/strip-inl.h"

#undef HUNCH_STRIP_TILES
#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3 && (HWY_COMPILER_GCC_ACTUAL >= 1100 || HWY_COMPILER_CLANG >= 1200)
#define HUNCH_STRIP_TILES 1
#else
#define HUNCH_STRIP_TILES 0
#endif

#if HUNCH_STRIP_TILES
#include <immintrin.h>
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni,amx-tile,amx-int8")
namespace hunch {
namespace HWY_NAMESPACE {
namespace tile_strips {
using namespace strip;  // NOLINT

#undef HUNCH_VNNI
#define HUNCH_VNNI 1  // sums begin where those of unsigned codes do
#include "kernels/strips/codes_dot-inl.h"

constexpr size_t kTileTokens = 16;
constexpr size_t kBatchBlocks = 4;  // of 32 columns, or a group; more at once, and memory waits for arithmetic
constexpr size_t kMostBlocks = 8;
constexpr size_t kBlockCodes = 512, kTileSums = 256;

// Sums of up to sixteen tokens, a line each: tiles 0 to 3. x: 4 and 5. Codes: 6 and 7, four columns a line.
class ConfiguredForTokens {
 public:
  ConfiguredForTokens(size_t n_tokens, size_t n_columns) {
    struct alignas(64) Config {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes_of_line[16] = {64, 64, 64, 64};
      uint8_t lines[16] = {};
    } config;
    static_assert(sizeof(Config) == 64);
    std::fill_n(config.lines, 6, uint8_t(n_tokens));
    config.bytes_of_line[4] = config.bytes_of_line[5] = uint16_t(n_columns);
    config.bytes_of_line[6] = config.bytes_of_line[7] = 64;
    config.lines[6] = config.lines[7] = uint8_t(n_columns / 4);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    _tile_loadconfig(&config);
  }
  ~ConfiguredForTokens() { _tile_release(); }
  ConfiguredForTokens(const ConfiguredForTokens&) = delete;
  ConfiguredForTokens& operator=(const ConfiguredForTokens&) = delete;
};

// At most kTileTokens tokens.
struct Tokens {
  size_t n, q_stride;
  const int8_t* q;
  const float *scale[kTileTokens], *scaled_sum[kTileTokens];
  const int32_t* start[kTileTokens];  // by sub-block
};

// What a strip passes through: codes and integer sums of two batches in turn, and the sums of the tokens.
struct Scratch {
  alignas(64) std::byte codes[2][kMostBlocks * kBlockCodes];
  alignas(64) int32_t dots[2][2 * kMostBlocks * kTileSums];
  alignas(64) float y[kTileTokens][kStripRows];
};

// Part of a strip: whole groups of it.
template <class F>
struct Batch {
  static constexpr StripCodes s = StripShape<F>::kCodes;
  static constexpr size_t kNSub = StripScales<F>::kNSub,
                          kGroups = s.n_blocks() < kBatchBlocks ? kBatchBlocks / s.n_blocks() : 1;
  const std::byte* strip;
  size_t first_block, n_blocks;

  HWY_INLINE const std::byte* block(size_t b) const {
    return strip + b / s.n_blocks() * s.group_bytes() + s.head_bytes + b % s.n_blocks() * s.block_bytes();
  }
};

template <class F>
HWY_INLINE void Unpack(const Batch<F>& batch, std::byte* codes) {
  if constexpr (Batch<F>::s.bits == 8) return;  // they lie as they are multiplied
  for (size_t b = 0; b < batch.n_blocks; ++b) {
    VU8 u[8];
    Codes<Batch<F>::s.bits>(batch.block(b), u);
    HWY_UNROLL(8)
    for (size_t k = 0; k < 8; ++k) hn::Store(u[k], DU8(), reinterpret_cast<uint8_t*>(codes + b * kBlockCodes + 64 * k));
  }
}

template <class F>
HWY_INLINE void Multiply(const Batch<F>& batch, const std::byte* codes, const Tokens& x, int32_t* dots) {
  constexpr size_t kNSub = Batch<F>::kNSub, kColumns = 32 / kNSub;
  asm volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from and stored to memory
  for (size_t b = 0; b < batch.n_blocks; ++b, dots += kNSub * kTileSums) {
    const int8_t* q = x.q + 32 * (batch.first_block + b);
    const std::byte* w = Batch<F>::s.bits == 8 ? batch.block(b) : codes + b * kBlockCodes;
    if (kNSub == 1 && b % 2 == 1) {
      _tile_loadd(5, q, x.q_stride);
      _tile_loadd(7, w, 64);
      _tile_zero(1);
      _tile_dpbsud(1, 5, 7);
      _tile_stored(1, dots, 64);
      continue;
    }
    _tile_loadd(4, q, x.q_stride);
    _tile_loadd(6, w, 64);
    _tile_zero(0);
    _tile_dpbsud(0, 4, 6);
    _tile_stored(0, dots, 64);
    if constexpr (kNSub == 2) {
      _tile_loadd(5, q + kColumns, x.q_stride);
      _tile_loadd(7, w + 16 * kColumns, 64);
      _tile_zero(1);
      _tile_dpbsud(1, 5, 7);
      _tile_stored(1, dots + kTileSums, 64);
    }
  }
  asm volatile("" ::: "memory");
}

// y[t] += the batch's sums, scaled, for M tokens from t on. Asks for what is far ahead in the strip, once for all
// tokens.
template <class F, size_t M>
HWY_INLINE void Scale(const Batch<F>& batch, const int32_t* dots, const Tokens& x, size_t first, float (*y)[kStripRows],
                      StripPrefetch ahead) {
  constexpr StripCodes s = Batch<F>::s;
  constexpr size_t kNSub = Batch<F>::kNSub, kUnderWay = 2 * Batch<F>::kGroups * s.group_bytes();
  const D32 d32;
  const DF df;
  VF sum[M];
  HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) sum[t] = hn::Load(df, y[first + t]);
  StripScales<F> scales;
  const std::byte* group = batch.strip;
  for (size_t i = 0; i < batch.n_blocks; i += s.n_blocks(), group += s.group_bytes()) {
    scales.Read(group);
    for (size_t b = 0; b < s.n_blocks(); ++b) {
      constexpr size_t kShare = (s.group_bytes() / s.n_blocks() + 63) / 64 * 64;
      const size_t share = std::min(b * kShare, s.group_bytes());
      AskAhead(ahead, group + kUnderWay + share, std::min(kShare, s.group_bytes() - share));
      HWY_UNROLL(2) for (size_t sub = 0; sub < kNSub; ++sub) {
        const size_t at = batch.first_block + i + b, at_sub = at * kNSub + sub;
        const int32_t* dot = dots + ((i + b) * kNSub + sub) * kTileSums + first * kStripRows;
        const VF scale = scales.Scale(b * kNSub + sub, 0);
        HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) {
          const V32 all = hn::Add(Start<s.offset>(&x.start[first + t][at_sub]), hn::Load(d32, dot + t * kStripRows));
          sum[t] = hn::MulAdd(hn::ConvertTo(df, all), hn::Mul(scale, hn::Set(df, x.scale[first + t][at])), sum[t]);
        }
        if constexpr (F::kFormat.has_min) {
          const VF min = scales.Min(b * kNSub + sub, 0);
          HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) {
            const float xs = kNSub == 1 ? x.scaled_sum[first + t][at]
                                        : QuantizedX::scaled_sum16(x.scale[first + t][at], x.start[first + t][at_sub]);
            sum[t] = hn::NegMulAdd(min, hn::Set(df, xs), sum[t]);
          }
        }
      }
    }
  }
  HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) hn::Store(sum[t], df, y[first + t]);
}

// One strip. Tiles see what was stored only once it is in the cache, so that three batches are under way: one is
// unpacked, the one before multiplied, the one before that scaled.
template <class F>
HWY_NOINLINE void MultiplyStrip(const std::byte* strip, size_t n_groups, const Tokens& x, StripPrefetch ahead,
                                Scratch& scratch) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  const size_t n_batches = (n_groups + Batch<F>::kGroups - 1) / Batch<F>::kGroups;
  const auto batch = [&](size_t i) HWY_ATTR {
    const size_t first = i * Batch<F>::kGroups, n = std::min(Batch<F>::kGroups, n_groups - first);
    return Batch<F>{strip + first * s.group_bytes(), first * s.n_blocks(), n * s.n_blocks()};
  };
  for (size_t i = 0; i < n_batches + 2; ++i) {
    if (i < n_batches) Unpack(batch(i), scratch.codes[i % 2]);
    if (i >= 1 && i <= n_batches) Multiply(batch(i - 1), scratch.codes[(i - 1) % 2], x, scratch.dots[(i - 1) % 2]);
    if (i < 2) continue;
    const Batch<F> last = batch(i - 2);
    const int32_t* dots = scratch.dots[i % 2];
    size_t t = 0;
    for (; t + 8 <= x.n; t += 8) Scale<F, 8>(last, dots, x, t, scratch.y, t == 0 ? ahead : StripPrefetch{});
    for (; t + 4 <= x.n; t += 4) Scale<F, 4>(last, dots, x, t, scratch.y, t == 0 ? ahead : StripPrefetch{});
    for (; t < x.n; ++t) Scale<F, 1>(last, dots, x, t, scratch.y, t == 0 ? ahead : StripPrefetch{});
  }
}

template <class F>
void DotRange(const GemvArgs& a, const QuantizedX& x, size_t begin, size_t end) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  const size_t n_groups = (a.W.cols + s.columns - 1) / s.columns;
  const StripPrefetch ahead = strip_prefetch(s.n_blocks() > 2);
  Scratch scratch;
  for (size_t first = 0; first < x.n_tokens; first += kTileTokens) {
    Tokens tokens{std::min(x.n_tokens - first, kTileTokens), x.n_padded, x.q_row(first), {}, {}, {}};
    for (size_t t = 0; t < tokens.n; ++t) {
      tokens.scale[t] = x.scale_row(first + t);
      tokens.scaled_sum[t] = x.scaled_sum_row(first + t);
      tokens.start[t] = StripScales<F>::kNSub == 2 ? x.start16_row(first + t) : x.start32_row(first + t);
    }
    const ConfiguredForTokens configured(tokens.n, 32 / StripScales<F>::kNSub);
    for (size_t row = begin; row < end; row += kStripRows) {
      const size_t n_rows = std::min(kStripRows, end - row);
      for (size_t t = 0; t < tokens.n; ++t)
        for (size_t r = 0; r < kStripRows; ++r) scratch.y[t][r] = a.bias && r < n_rows ? a.bias[row + r] : 0.0f;
      MultiplyStrip<F>(a.W.strips + row / kStripRows * a.W.strip_stride_bytes, n_groups, tokens, ahead, scratch);
      for (size_t t = 0; t < tokens.n; ++t)
        std::memcpy(a.y + (first + t) * a.y_stride + row, scratch.y[t], n_rows * sizeof(float));
    }
  }
}

void Dot(const GemvArgs& a, const QuantizedX& x, size_t begin, size_t end) {
  with_format(a.W.dtype, [&](QuantisedFormat auto f) { DotRange<decltype(f)>(a, x, begin, end); });
}

}  // namespace tile_strips
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_STRIP_TILES
#endif
