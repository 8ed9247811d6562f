// The CPU features that Highway's targets do not tell apart.
#pragma once

namespace hunch {

// Whether vpdpbusd exists on 512-bit vectors (Cascade Lake and later, Zen 4 and later), and its
// VEX form on 256-bit vectors (Alder Lake and later). Highway 1.0.3 has no such targets, so that
// the int8 kernels are compiled twice for AVX3 and for AVX2 and choose by these.
bool has_avx512_vnni();
bool has_avx_vnni();

// Hides both features, so that tests reach the code for older CPUs; false brings them back.
void hide_vnni_for_test(bool hide);

}  // namespace hunch
