# hunch_folder(NAME [DEPENDS folder...] [LINK library...] [EXECUTABLE binary] [ALONE source...] [WITHOUT source...])
#
# One static library per folder of src/. `x.cc` belongs to the library, `x_test.cc` to the
# folder's test program, `x_fuzz.cc` becomes a libFuzzer program. With HUNCH_UNITY, which CI sets, eight sources are compiled at a
# time: names in their anonymous namespaces have to differ, or one of them stands under ALONE. A folder sees the headers of a folder below
# it as "folder/header.h", and only if it DEPENDS on it: every folder has an include root of its
# own, which holds one link with the folder's name. An include that points upwards does not compile. TESTS_USE: folders
# that only its tests may see. WITHOUT: files that this build leaves out.
function(hunch_folder name)
  cmake_parse_arguments(ARG "" "EXECUTABLE" "DEPENDS;LINK;TESTS_USE;ALONE;WITHOUT" ${ARGN})
  set(dir ${CMAKE_CURRENT_SOURCE_DIR}/${name})
  set(root ${CMAKE_BINARY_DIR}/include_roots/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${dir} ${root}/${name} SYMBOLIC)

  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cc ${dir}/*/*.cc)
  if(ARG_WITHOUT)
    list(TRANSFORM ARG_WITHOUT PREPEND ${dir}/)
    list(REMOVE_ITEM sources ${ARG_WITHOUT})
  endif()
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.cc$")
  set(main "${sources}")
  list(FILTER main INCLUDE REGEX "/main\\.cc$")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")

  set(below)
  foreach(dep IN LISTS ARG_DEPENDS)
    list(APPEND below hunch_${dep})
  endforeach()
  if(sources)
    add_library(hunch_${name} STATIC ${sources})
    set(scope PUBLIC)
    if(HUNCH_UNITY AND NOT name STREQUAL "kernels")  # whose files are compiled once per SIMD target
      set_target_properties(hunch_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
      target_compile_options(hunch_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
      list(TRANSFORM ARG_ALONE PREPEND ${dir}/)
      set_source_files_properties(${ARG_ALONE} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
  else()
    add_library(hunch_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(hunch_${name} ${scope} $<BUILD_INTERFACE:${root}>
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/generated>
    $<INSTALL_INTERFACE:include>)
  target_link_libraries(hunch_${name} ${scope} ${below} ${ARG_LINK} hunch_compiler)

  if(name STREQUAL "cli")
    hunch_build_quickly(hunch_cli)
  elseif(name MATCHES "^(api|measure|serve)$")  # the templates of HTTP and JSON, where tests spend no time
    target_compile_options(hunch_${name} PRIVATE $<$<CONFIG:Debug>:-O0>)
  elseif(name STREQUAL "kernels" AND NOT HUNCH_SCALAR)
    set_target_properties(hunch_kernels PROPERTIES HUNCH_QUICK ON)
  endif()
  if(HUNCH_FUZZ AND fuzzers)  # libFuzzer looks at what these cover
    target_compile_options(hunch_${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()

  if(ARG_EXECUTABLE AND main)
    add_executable(${ARG_EXECUTABLE} ${main})
    target_link_libraries(${ARG_EXECUTABLE} PRIVATE hunch_${name})
    set_target_properties(${ARG_EXECUTABLE} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  endif()
  if(HUNCH_TESTS AND tests)
    hunch_tests(${name} "${tests}" "${ARG_TESTS_USE}")
  endif()
  if(HUNCH_FUZZ)
    foreach(fuzz IN LISTS fuzzers)
      hunch_fuzz(${name} ${fuzz})
    endforeach()
  endif()
endfunction()

# In Debug builds (the sanitizers') a target that does little work of its own is not optimised: it compiles in two thirds of
# the time, and the libraries that it calls are optimised as ever.
function(hunch_build_quickly target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Debug>:-O0>)
  set_target_properties(${target} PROPERTIES HUNCH_QUICK ON)
endfunction()

# src/io/*_test.cc -> one program test_io (one for each file would be 300 programs with all of hunch in each: 16 GB under
# the sanitizers), and for src/io/gguf_test.cc the ctest entry `io.gguf`, a process of its own. A test whose file name ends
# in `_slow_test.cc` carries the ctest label `slow`. OTHERS: folders that the tests may see beside those that the folder may.
function(hunch_tests folder sources others)
  set(target test_${folder})
  add_executable(${target} ${sources} ${PROJECT_SOURCE_DIR}/tests/test_main.cc)
  list(TRANSFORM others PREPEND hunch_)
  target_link_libraries(${target} PRIVATE hunch_${folder} ${others} GTest::gtest)
  if(NOT folder STREQUAL "kernels")
    hunch_build_quickly(${target})
    if(HUNCH_UNITY)
      hunch_share_test_headers(${target})
    endif()
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${target} PRIVATE HUNCH_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    HUNCH_BINARY_DIR="${CMAKE_BINARY_DIR}")
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WE)
    string(REGEX REPLACE "_test$" "" stem ${stem})
    add_test(NAME ${folder}.${stem} COMMAND ${target} --file=${stem} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set(label fast)
    if(stem MATCHES "_slow$")
      set(label slow)
    endif()
    set_tests_properties(${folder}.${stem} PROPERTIES LABELS ${label} TIMEOUT 900)
  endforeach()
endfunction()

# What nearly every test includes is read once for all of them: that takes as long as most tests themselves.
function(hunch_share_test_headers target)
  if(NOT TARGET hunch_test_headers)
    add_library(hunch_test_headers OBJECT ${PROJECT_SOURCE_DIR}/tests/test_headers.cc)
    target_link_libraries(hunch_test_headers PRIVATE GTest::gtest fmt::fmt hunch_compiler)
    hunch_build_quickly(hunch_test_headers)
    target_precompile_headers(hunch_test_headers PRIVATE <gtest/gtest.h> <fmt/format.h> <algorithm> <filesystem> <fstream>
      <functional> <map> <memory> <optional> <random> <span> <string> <vector>)
    set_target_properties(hunch_test_headers PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(hunch_test_headers PRIVATE -fPIE  # as programs are compiled; and so that ccache knows it again
      $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
  endif()
  target_precompile_headers(${target} REUSE_FROM hunch_test_headers)
endfunction()

# src/io/gguf_fuzz.cc -> program fuzz_io_gguf; seeds in src/io/fuzz_corpus/gguf/ if there are any.
function(hunch_fuzz folder source)
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" stem ${stem})
  set(target fuzz_${folder}_${stem})
  add_executable(${target} ${source})
  target_link_libraries(${target} PRIVATE hunch_${folder} -fsanitize=fuzzer)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
