# Flags that every target shares, carried by the interface library `hunch_compiler`.
add_library(hunch_compiler INTERFACE)
# BUILD_INTERFACE: who builds against an installed hunch chooses his own warnings.
target_compile_options(hunch_compiler INTERFACE
  $<BUILD_INTERFACE:-Wall;-Wextra;-Wno-unused-parameter;-Wno-psabi;-Wno-missing-field-initializers>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False positives of gcc 12 in inlined std::string / std::vector code (gcc PR 105329, 105651).
  target_compile_options(hunch_compiler INTERFACE
    $<BUILD_INTERFACE:-Wno-restrict;-Wno-stringop-overflow;-Wno-array-bounds;-Wno-maybe-uninitialized;-Wno-stringop-overread>)
endif()
if(HUNCH_WERROR)
  target_compile_options(hunch_compiler INTERFACE $<BUILD_INTERFACE:-Werror>)
endif()
if(HUNCH_SANITIZE)
  # A quick target (hunch_build_quickly) goes without UBSan, which costs a quarter of its compilation: what it tests has it.
  # Kernels do as well, where it doubles the compilation for each SIMD target: the tsan preset has it for the scalar one.
  string(REPLACE "," "$<COMMA>" all "${HUNCH_SANITIZE}")
  string(REPLACE ",undefined" "" without_ub "${HUNCH_SANITIZE}")
  target_compile_options(hunch_compiler INTERFACE -fno-omit-frame-pointer -fno-sanitize-recover=all
    -fsanitize=$<IF:$<BOOL:$<TARGET_PROPERTY:HUNCH_QUICK>>,${without_ub},${all}>)
  target_link_options(hunch_compiler INTERFACE -fsanitize=${HUNCH_SANITIZE})
  if(HUNCH_SANITIZE MATCHES "thread.*undefined")
    # UBSan asks the kernel by pipe() whether an object can be read, which the thread sanitizer takes for a race of two threads.
    target_compile_options(hunch_compiler INTERFACE -fno-sanitize=vptr)
  endif()
endif()
if(HUNCH_SCALAR)
  # Highway compiles only its scalar target; kernels fall back to their plain loops.
  target_compile_definitions(hunch_compiler INTERFACE HWY_COMPILE_ONLY_SCALAR)
endif()
find_program(HUNCH_CCACHE ccache)
if(HUNCH_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=time_macros,pch_defines ${HUNCH_CCACHE})
endif()
find_program(HUNCH_LLD ld.lld)
if(HUNCH_LLD AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=lld)
endif()
