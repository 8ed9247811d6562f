#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/int8_strips.cc"
#include "kernels/int8_strips.h"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/dot_int8-inl.h"
#include "kernels/int8_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// A token's codes, chunk by chunk, to `out`, where steps lie `step` bytes apart; its scale and sum.
void RoundInt8Token(const float* x, size_t n, float input_scale, int8_t* out, size_t step, float* scale, int32_t* sum) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const size_t N = hn::Lanes(d);
  // Bits of magnitudes have the order of the values, and NaN above all.
  const auto magnitude = hn::Set(d32, 0x7fffffff);
  auto most = hn::Zero(d32);
  size_t i = 0;
  for (; i + N <= n; i += N) most = hn::Max(most, hn::And(hn::BitCast(d32, hn::LoadU(d, x + i)), magnitude));
  int32_t bits = hn::GetLane(hn::MaxOfLanes(d32, most));
  for (; i < n; ++i) {
    int32_t own;
    std::memcpy(&own, x + i, sizeof own);
    if ((own & 0x7fffffff) > bits) bits = own & 0x7fffffff;
  }
  const bool finite = bits < 0x7f800000;
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  if (finite && largest < 1e-30f) largest = 0;
  *scale = !finite ? NAN : input_scale > 0 ? input_scale : largest / 127;
  const float inverse = !finite ? 0 : input_scale > 0 ? 1 / input_scale : largest > 0 ? 127 / largest : 0;
  const auto factor = hn::Set(d, inverse), low = hn::Set(d, -127.0f), high = hn::Set(d, 127.0f);
  auto total = hn::Zero(d32);
  HWY_ALIGN float rest[kInt8Step];
  for (size_t from = 0; from < n; from += kInt8Step, out += step) {
    const float* piece = x + from;
    if (n - from < kInt8Step) {
      std::fill_n(rest, kInt8Step, 0.0f);
      std::copy_n(piece, n - from, rest);
      piece = rest;
    }
    for (size_t k = 0; k < kInt8Step; k += N) {
      auto v = hn::Zero(d32);
      if (finite) v = hn::NearestInt(hn::Min(hn::Max(hn::Mul(hn::LoadU(d, piece + k), factor), low), high));
      total = hn::Add(total, v);
      hn::StoreU(hn::DemoteTo(d8, v), d8, out + k);
    }
  }
  *sum = hn::GetLane(hn::SumOfLanes(d32, total));
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#undef HUNCH_HAS_VNNI
#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
// Tokens whose sums stay in registers, and strips that they meet at once.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kMostInt8Tokens = 8;
#elif HWY_ARCH_ARM || HWY_TARGET <= HWY_AVX2
constexpr size_t kMostInt8Tokens = 4;
#else
constexpr size_t kMostInt8Tokens = 2;
#endif
constexpr size_t kInt8StripsAtOnce = HWY_TARGET <= HWY_AVX3 ? 3 : 1;
#undef HUNCH_VNNI
#define HUNCH_VNNI 0
#include "kernels/int8_strips-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#undef HUNCH_VNNI
#define HUNCH_VNNI 1
#if HWY_TARGET <= HWY_AVX3
#define HUNCH_HAS_VNNI has_avx512_vnni()
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
#define HUNCH_HAS_VNNI has_avx_vnni()
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avxvnni")
#endif
namespace hunch {
namespace HWY_NAMESPACE {
#include "kernels/int8_strips-inl.h"
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif
#endif  // HUNCH_INT8_SIMD

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

#if !HUNCH_INT8_SIMD
void MultiplyInt8Strip(const Int8Tokens& x, const Int8Task& task, size_t strip) {
  const int8_t* w = task.strips + strip * int8_strip_bytes(x.n_in);
  for (size_t t = 0; t < x.n_tokens; ++t) {
    int32_t sums[16] = {};
    for (size_t quad = 0; quad < x.n_padded() / kInt8Quad; ++quad) {
      const int8_t* four = x.token(t) + quad / 16 * x.step_bytes(t) + quad % 16 * kInt8Quad;
      for (size_t r = 0; r < 16; ++r)
        for (size_t j = 0; j < kInt8Quad; ++j) sums[r] += w[quad * 64 + r * kInt8Quad + j] * four[j];
    }
    WriteSums(x, task, strip, t, sums);
  }
}
#endif

// Strips [begin, end) of those that are computed.
void MultiplyInt8Strips(const Int8Tokens& x, const Int8Task& task, size_t begin, size_t end) {
#ifdef HUNCH_HAS_VNNI
  if (HUNCH_HAS_VNNI) return vnni_int8::Strips(x, task, begin, end);
#endif
#if HUNCH_INT8_SIMD
  plain_int8::Strips(x, task, begin, end);
#else
  for (size_t i = begin; i < end; ++i) MultiplyInt8Strip(x, task, task.only_chosen ? task.chosen[i] : i);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/error.h"
#include "kernels/int8_tiles.h"

namespace hunch {
HWY_EXPORT(RoundInt8Token);
HWY_EXPORT(MultiplyInt8Strips);

Int8Tokens round_to_int8(Compute& compute, MatView<const float> X, float input_scale) {
  Int8Tokens x;
  x.n_tokens = X.rows, x.n_in = X.cols;
  // Beyond the end: a tile of fewer than sixteen tokens is read as one of sixteen.
  int8_t* const codes = compute.arena.take<int8_t>(X.rows * x.n_padded() + Int8Tokens::kTile * kInt8Step).data();
  float* const scales = compute.arena.take<float>(X.rows).data();
  int32_t* const sums = compute.arena.take<int32_t>(X.rows).data();
  x.codes = codes, x.scale = scales, x.sum = sums;
  compute.threads.parallel_for(X.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) HWY_DYNAMIC_DISPATCH(RoundInt8Token)
    (X.row(t).data(), X.cols, input_scale, codes + (x.token(t) - x.codes), x.step_bytes(t), scales + t, sums + t);
  });
  return x;
}

namespace {

size_t n_strips(const Int8Task& task) { return task.only_chosen ? task.chosen.size() : int8_strips(task.Y.cols); }

constexpr size_t kTokensOfInt8Tiles = 16;

// Pieces of each task's strips are handed out as threads become free.
void multiply_in_tiles(Compute& compute, const Int8Tokens& x, std::span<const Int8Task> tasks) {
  size_t n_pieces = 0;
  const size_t panel_bytes = int8_tile_scratch_bytes(x.n_tokens);
  std::byte* scratch = compute.arena.take<std::byte>(panel_bytes * compute.threads.n_threads()).data();
  const auto pieces_of = [](const Int8Task& t) { return (n_strips(t) + kInt8TileStrips - 1) / kInt8TileStrips; };
  for (const Int8Task& task : tasks) n_pieces += pieces_of(task);
  compute.threads.parallel_for_dynamic(n_pieces, 1, [&](size_t begin, size_t end, size_t thread) {
    for (size_t i = begin; i < end; ++i) {
      size_t at = i, k = 0;
      for (; at >= pieces_of(tasks[k]); ++k) at -= pieces_of(tasks[k]);
      const size_t first = at * kInt8TileStrips;
      multiply_int8_tiles(x, tasks[k], first, std::min(first + kInt8TileStrips, n_strips(tasks[k])),
                          scratch + thread * panel_bytes);
    }
  });
}

}  // namespace

void multiply_int8(Compute& compute, const Int8Tokens& x, std::span<const Int8Task> tasks) {
  if (x.n_tokens == 0) return;
  HUNCH_CHECK(!x.only_quads || x.n_tokens == 1, "quads of {} tokens", x.n_tokens);
  size_t n_all = 0;
  for (const Int8Task& task : tasks) {
    HUNCH_CHECK(task.Y.rows == x.n_tokens, "{} rows of Y for {} tokens", task.Y.rows, x.n_tokens);
    n_all += n_strips(task);
  }
  const bool in_tiles = x.n_tokens >= kTokensOfInt8Tiles && multiplies_int8_tiles() &&
                        std::ranges::none_of(tasks, [](const Int8Task& t) { return t.only_chosen; });
  const Arena::Scope scope(compute.arena);
  if (in_tiles) return multiply_in_tiles(compute, x, tasks);
  compute.threads.parallel_for(n_all, 1, [&](size_t begin, size_t end) {
    size_t first = 0;  // the task's
    for (const Int8Task& task : tasks) {
      const size_t n = n_strips(task), from = std::max(begin, first), to = std::min(end, first + n);
      if (from < to) HWY_DYNAMIC_DISPATCH(MultiplyInt8Strips)(x, task, from - first, to - first);
      first += n;
    }
  });
}

}  // namespace hunch
#endif  // HWY_ONCE
