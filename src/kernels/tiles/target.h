// Which of Highway's targets have code for AMX tiles, and the attributes that it is compiled with. Included once per
// target.
#include "hwy/highway.h"

#undef HUNCH_TILES
#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3 && (HWY_COMPILER_GCC_ACTUAL >= 1100 || HWY_COMPILER_CLANG >= 1200)
#define HUNCH_TILES 1
#else
#define HUNCH_TILES 0
#endif

#undef HUNCH_TILES_STR
#define HUNCH_TILES_STR HWY_TARGET_STR ",avx512bf16,amx-tile,amx-bf16"
#undef HUNCH_TILES_ATTR
#define HUNCH_TILES_ATTR __attribute__((target(HUNCH_TILES_STR)))  // of lambdas
#undef HUNCH_BEFORE_TILES
#undef HUNCH_AFTER_TILES
#define HUNCH_BEFORE_TILES()           \
  HWY_PUSH_ATTRIBUTES(HUNCH_TILES_STR) \
  static_assert(true, "For requiring trailing semicolon")
#define HUNCH_AFTER_TILES() \
  HWY_POP_ATTRIBUTES        \
  static_assert(true, "For requiring trailing semicolon")
