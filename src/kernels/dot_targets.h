// The CPU features that Highway's targets do not tell apart.
#pragma once
#include <cstddef>

namespace hunch {

// Whether vpdpbusd exists on 512-bit vectors (Cascade Lake and later, Zen 4 and later), and its
// VEX form on 256-bit vectors (Alder Lake and later). Highway 1.0.3 has no such targets, so that
// the int8 kernels are compiled twice for AVX3 and for AVX2 and choose by these.
bool has_avx512_vnni();
bool has_avx_vnni();
// Beside has_avx512_vnni(), vpexpandb and vpmultishiftqb (Ice Lake and later, Zen 4 and later).
bool has_avx512_expand();

// Whether there are AMX tiles with bf16 products (Sapphire Rapids and later) that the kernel lets this process use,
// which the first call asks it for, and the bf16 conversions of AVX-512.
bool has_amx_bf16();
// The same with products of int8, which processors with tiles have had from the first.
bool has_amx_int8();

// Whether vdpbf16ps and the conversions to bf16 exist on 512-bit vectors (Cooper Lake, Sapphire Rapids and later, Zen
// 4 and later).
bool has_avx512_bf16();

// How far ahead of the reader of a strip lines are asked for, in bytes, into the first cache and into the second; 0:
// not at all, which leaves it to the processor's own prefetchers. What helps one maker's processors harms the other's
// (docs/performance.md): measured on Zen 5 and on Sapphire Rapids.
struct StripPrefetch {
  size_t first_cache = 0, second_cache = 0;
  bool long_turns = false;  // loops are to take so many groups a turn that each load steps over thousands of bytes
};
// `long_groups`: those of 256 columns. `can_turn_long`: whether the loop has such turns.
StripPrefetch strip_prefetch(bool long_groups, bool can_turn_long);
// The same of sparse strips. On Zen 5 that is worth 1.5 times the speed for one token of 2:4 with long turns, and 1.7
// for eight.
StripPrefetch sparse_prefetch();

// Who made this processor, as the above take it to be; tests go through all. Returns who did before.
enum class Maker { kOther, kIntel, kAmd };
Maker pretend_for_test(Maker maker);

// Hides features, so that tests reach the code for older CPUs. Returns what was hidden before.
enum class Hidden { kNothing, kTiles, kTilesAndVnni };
Hidden hide_for_test(Hidden hidden);

}  // namespace hunch
