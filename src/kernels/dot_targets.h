// Included before hwy/foreach_target.h by the product kernels: the targets they are compiled for, and
// the CPU features that Highway's targets do not tell apart.
#pragma once

// The int8 kernels have native code for x86 and NEON. On SVE machines NEON is at least as good as
// unspecialised SVE code would be.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

namespace hunch {

// Whether vpdpbusd exists on 512-bit vectors (Cascade Lake and later, Zen 4 and later), and its
// VEX form on 256-bit vectors (Alder Lake and later). Highway 1.0.3 has no such targets, so that
// the int8 kernels are compiled twice for AVX3 and for AVX2 and choose by these.
bool has_avx512_vnni();
bool has_avx_vnni();

// Hides both features, so that tests reach the code for older CPUs; false brings them back.
void hide_vnni_for_test(bool hide);

}  // namespace hunch
