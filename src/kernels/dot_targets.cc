#include "kernels/dot_targets.h"

#include <utility>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace hunch {
namespace {

Hidden hidden = Hidden::kNothing;

// Linux gives the state of tiles, 8 KB a thread, to processes that ask for it (Documentation/arch/x86/xstate.rst).
[[maybe_unused]] bool may_use_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr int kArchReqXcompPerm = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
#else
  return false;
#endif
}

struct Features {
  bool avx512_vnni = false, avx512_expand = false, avx_vnni = false, amx_bf16 = false, amx_int8 = false,
       avx512_bf16 = false;
  Maker maker = Maker::kOther;
  Features() {
#if defined(__x86_64__) || defined(__i386__)
    unsigned a, b, c, d;
    if (__get_cpuid(0, &a, &b, &c, &d)) {
      if (b == signature_INTEL_ebx) maker = Maker::kIntel;
      if (b == signature_AMD_ebx) maker = Maker::kAmd;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx512_vnni = c >> 11 & 1;
    avx512_expand = avx512_vnni && (c >> 1 & 1) && (c >> 6 & 1);  // VBMI, VBMI2
    const bool tiles = (d >> 22 & 1) && (d >> 24 & 1);
    amx_int8 = (d >> 24 & 1) && (d >> 25 & 1) && may_use_tiles();
    const unsigned n_subleaves = a;
    if (n_subleaves < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return;
    avx_vnni = a >> 4 & 1;
    avx512_bf16 = a >> 5 & 1;
    amx_bf16 = tiles && avx512_bf16 && may_use_tiles();
#endif
  }
};

const Features& features() {
  static const Features f;
  return f;
}

Maker& maker() {
  static Maker of_this_machine = features().maker;
  return of_this_machine;
}

}  // namespace

bool has_avx512_vnni() { return hidden != Hidden::kTilesAndVnni && features().avx512_vnni; }
bool has_avx512_expand() { return has_avx512_vnni() && features().avx512_expand; }
bool has_avx_vnni() { return hidden != Hidden::kTilesAndVnni && features().avx_vnni; }
bool has_amx_int8() { return hidden == Hidden::kNothing && features().amx_int8; }
bool has_avx512_bf16() { return hidden != Hidden::kTilesAndVnni && features().avx512_bf16; }
bool has_amx_bf16() { return hidden == Hidden::kNothing && features().amx_bf16; }
StripPrefetch strip_prefetch(bool long_groups, bool can_turn_long) {
  if (maker() == Maker::kIntel) return {768, 3072};
  if (maker() == Maker::kAmd) return {long_groups || can_turn_long ? size_t(4096) : 0, 0, can_turn_long};
  return {};
}
StripPrefetch sparse_prefetch() {
  return maker() == Maker::kAmd ? StripPrefetch{0, 4096, true} : strip_prefetch(false, false);
}
Maker pretend_for_test(Maker who) { return std::exchange(maker(), who); }
Hidden hide_for_test(Hidden what) { return std::exchange(hidden, what); }

}  // namespace hunch
