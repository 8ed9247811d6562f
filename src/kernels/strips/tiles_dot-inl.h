// Strips of a quantised matrix times several tokens in AMX tiles of int8: a strip's unpacked lines are the right-hand
// factor as they are (those of eight bits too pass through scratch: tiles that load from memory wait for it, and 40 ns
// a block became 58). A tile sums a block of 32 columns (or 16) for sixteen tokens and sixteen rows; the sums are
// scaled and added in f32 as strips/dot-inl.h does it, so that a token's bits are the same. For inclusion by strips.cc,
// once per SIMD target.
//
// Per block of Q4_0 and sixteen tokens a core needs some 36 cycles of vector arithmetic (24 to unpack, three operations
// a token) beside 16 of the tiles.
#if defined(HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_
#undef HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_TILES_DOT_INL_H_
#endif
#include <atomic>

#include "kernels/strips/strip-inl.h"
#include "kernels/strips/token_tiles.h"

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

constexpr size_t kBlockCodes = 512, kTileSums = 256;
// Tiles see what was stored only once it is in the cache: a pair of blocks is unpacked, the pair before it multiplied,
// and the one before that scaled, so that neighbouring instructions wait for nothing of each other.
constexpr size_t kRing = 4;  // blocks: two pairs

// Sums of up to sixteen tokens, a line each: tiles 0 and 1. x: 4 and 5. Codes: 6 and 7, four columns a line.
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

// What blocks pass through on their way.
struct Scratch {
  alignas(64) std::byte codes[kRing][kBlockCodes];
  alignas(64) int32_t dots[kRing][2 * kTileSums];
};

// The blocks of a strip, two at a time: i is even.
template <class F, size_t M>
class Blocks {
 public:
  HWY_INLINE Blocks(const std::byte* strip, const TokenBlock* x, StripPrefetch ahead, Scratch& scratch)
      : x_(x), ahead_(ahead), scratch_(scratch), unpacked_(strip), scaled_(strip) {}

  // The next two blocks' codes, without their offset.
  HWY_INLINE void Unpack(size_t i) {
    const size_t b = i % s.n_blocks();
    // The pair's share of the group, so that no more lines are under way at once than must.
    constexpr size_t kShare = 2 * s.group_bytes() / s.n_blocks();
    const std::byte* share = unpacked_ + b / 2 * kShare;
    if (ahead_.first_cache)
      HWY_UNROLL(16) for (size_t at = 0; at < kShare; at += 64) hwy::Prefetch(share + ahead_.first_cache + at);
    if (ahead_.second_cache) HWY_UNROLL(16)
    for (size_t at = 0; at < kShare; at += 64) __builtin_prefetch(share + ahead_.second_cache + at, 0, 2);
    const std::byte* block = unpacked_ + s.head_bytes + b * s.block_bytes();
    UnpackOne(block, i % kRing);
    UnpackOne(block + s.block_bytes(), i % kRing + 1);
    if (b + 2 == s.n_blocks()) unpacked_ += s.group_bytes();
  }

  HWY_INLINE void Multiply(size_t i) {
    const size_t at = i % kRing;
    const std::byte *w0 = scratch_.codes[at], *w1 = scratch_.codes[at + 1];
    constexpr int kLine = QuantizedX::kBlock;
    asm volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from and stored to memory
    for (size_t sub = 0; sub < kNSub; ++sub) {
      constexpr size_t kColumns = 32 / kNSub;
      _tile_loadd(4, x_[i].q[0] + sub * kColumns, kLine);
      _tile_loadd(6, w0 + sub * 16 * kColumns, 64);
      _tile_zero(0);
      _tile_loadd(5, x_[i + 1].q[0] + sub * kColumns, kLine);
      _tile_loadd(7, w1 + sub * 16 * kColumns, 64);
      _tile_zero(1);
      if constexpr (kSigned) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 5, 7);
      } else {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 5, 7);
      }
      _tile_stored(0, scratch_.dots[at] + sub * kTileSums, 64);
      _tile_stored(1, scratch_.dots[at + 1] + sub * kTileSums, 64);
    }
    asm volatile("" ::: "memory");
  }

  // sum[t] += the sums of both blocks, scaled.
  HWY_INLINE void Scale(size_t i, VF (&sum)[M]) {
    const size_t b = i % s.n_blocks();
    if (b == 0) scales_.Read(scaled_);
    if (b + 2 == s.n_blocks()) scaled_ += s.group_bytes();
    ScaleOne(i, b, i % kRing, sum);
    ScaleOne(i + 1, b + 1, i % kRing + 1, sum);
  }

 private:
  static constexpr StripCodes s = StripShape<F>::kCodes;
  static constexpr size_t kNSub = StripScales<F>::kNSub;
  static constexpr bool kSigned = s.offset != 0;
  static_assert(s.n_blocks() % 2 == 0);

  HWY_INLINE void UnpackOne(const std::byte* block, size_t at) {
    VU8 u[8];
    Codes<s.bits>(block, u);
    auto* to = reinterpret_cast<uint8_t*>(scratch_.codes[at]);
    HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) {
      if constexpr (kSigned) u[k] = hn::Sub(u[k], hn::Set(DU8(), uint8_t(s.offset)));
      hn::Store(u[k], DU8(), to + 64 * k);
    }
  }

  HWY_INLINE void ScaleOne(size_t i, size_t b, size_t at, VF (&sum)[M]) {
    const D32 d32;
    const DF df;
    const TokenBlock& x = x_[i];
    HWY_UNROLL(2) for (size_t sub = 0; sub < kNSub; ++sub) {
      const int32_t* dots = scratch_.dots[at] + sub * kTileSums;
      const VF scale = scales_.Scale(b * kNSub + sub, 0);
      HWY_UNROLL(16) for (size_t t = 0; t < M; ++t) {
        const V32 dot = hn::Load(d32, dots + t * kStripRows);
        sum[t] = hn::MulAdd(hn::ConvertTo(df, dot), hn::Mul(scale, hn::Set(df, x.scale[t])), sum[t]);
      }
      if constexpr (F::kFormat.has_min) {
        const VF min = scales_.Min(b * kNSub + sub, 0);
        const float* scaled_sum = kNSub == 2 ? x.scaled_sum16[sub] : x.scaled_sum;
        HWY_UNROLL(16)
        for (size_t t = 0; t < M; ++t) sum[t] = hn::NegMulAdd(min, hn::Set(df, scaled_sum[t]), sum[t]);
      }
    }
  }

  const TokenBlock* x_;
  StripPrefetch ahead_;
  Scratch& scratch_;
  StripScales<F> scales_;
  const std::byte *unpacked_, *scaled_;  // groups
};

// y[t][0 .. n_rows) = one strip . x[t] + bias, for n_tokens tokens, at most M.
template <class F, size_t M>
HWY_NOINLINE void MultiplyStrip(const std::byte* strip, size_t n_blocks, const TokenBlock* x, StripPrefetch ahead,
                                size_t n_tokens, const float* bias, size_t n_rows, float* y, size_t y_stride,
                                Scratch& scratch) {
  const DF df;
  Blocks<F, M> blocks(strip, x, ahead, scratch);
  const auto rows = hn::FirstN(df, n_rows);
  const VF start = bias ? hn::MaskedLoad(rows, df, bias) : hn::Zero(df);
  VF sum[M];
  HWY_UNROLL(16) for (size_t t = 0; t < M; ++t) sum[t] = start;
  blocks.Unpack(0);
  if (n_blocks > 2) blocks.Unpack(2);
  blocks.Multiply(0);
  for (size_t i = 4; i < n_blocks; i += 2) {
    blocks.Unpack(i);
    blocks.Multiply(i - 2);
    blocks.Scale(i - 4, sum);
  }
  if (n_blocks > 2) {
    blocks.Multiply(n_blocks - 2);
    blocks.Scale(n_blocks - 4, sum);
  }
  blocks.Scale(n_blocks - 2, sum);
  HWY_UNROLL(16) for (size_t t = 0; t < M; ++t) if (t < n_tokens) hn::BlendedStore(sum[t], rows, df, y + t * y_stride);
}

template <class F>
void DotRange(const GemvArgs& a, const TokenTiles& x, size_t begin, size_t end) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  const size_t n_groups = (a.W.cols + s.columns - 1) / s.columns, n_blocks = n_groups * s.n_blocks();
  const StripPrefetch ahead = strip_prefetch(s.n_blocks() > 2, false);
  const ConfiguredForTokens configured(std::min(TokenBlock::kTokens, x.n_tokens), 32 / StripScales<F>::kNSub);
  Scratch scratch;
  // A strip is in the cache for the second tile of tokens and those after it.
  for (size_t row = begin; row < end; row += kStripRows) {
    const std::byte* strip = a.W.strips + row / kStripRows * a.W.strip_stride_bytes;
    for (size_t i = 0; i < x.n_tiles(); ++i) {
      const size_t first = i * TokenBlock::kTokens, n = std::min(TokenBlock::kTokens, x.n_tokens - first);
      const auto multiply = n <= 8 ? MultiplyStrip<F, 8> : MultiplyStrip<F, 16>;
      multiply(strip, n_blocks, x.blocks + i * x.n_blocks, i == 0 ? ahead : StripPrefetch{}, n,
               a.bias ? a.bias + row : nullptr, std::min(kStripRows, end - row), a.y + first * a.y_stride + row,
               a.y_stride, scratch);
    }
  }
}

void Dot(const GemvArgs& a, const TokenTiles& x, size_t begin, size_t end) {
  with_format(a.W.dtype, [&](QuantisedFormat auto f) { DotRange<decltype(f)>(a, x, begin, end); });
}

}  // namespace tile_strips
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_STRIP_TILES
#endif
