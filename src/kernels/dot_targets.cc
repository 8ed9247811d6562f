#include "kernels/dot_targets.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace hunch {
namespace {

bool hidden = false;

#if defined(__x86_64__) || defined(__i386__)
struct Features {
  bool avx512_vnni = false, avx_vnni = false;
  Features() {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx512_vnni = c >> 11 & 1;
    const unsigned n_subleaves = a;
    if (n_subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) avx_vnni = a >> 4 & 1;
  }
};
#else
struct Features {
  bool avx512_vnni = false, avx_vnni = false;
};
#endif

const Features& features() {
  static const Features f;
  return f;
}

}  // namespace

bool has_avx512_vnni() { return !hidden && features().avx512_vnni; }
bool has_avx_vnni() { return !hidden && features().avx_vnni; }
void hide_vnni_for_test(bool hide) { hidden = hide; }

}  // namespace hunch
