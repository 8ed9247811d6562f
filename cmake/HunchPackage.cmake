# `cpack -G DEB` in the build folder: packages/hunch_*.deb (the program), libhunch*.deb, libhunch-dev_*.deb, one for each
# component of HunchInstall.cmake.
set(HUNCH_MAINTAINER "The hunch maintainers <maintainers@hunch.invalid>" CACHE STRING "Maintainer of the .deb packages")
set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME hunch)
set(CPACK_PACKAGE_VENDOR hunch)
set(CPACK_PACKAGE_CONTACT ${HUNCH_MAINTAINER})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_OUTPUT_FILE_PREFIX ${CMAKE_BINARY_DIR}/packages)
set(CPACK_COMPONENTS_ALL runtime development)
if(HUNCH_SHARED_LIBRARY)
  list(INSERT CPACK_COMPONENTS_ALL 1 library)
endif()
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/DebFiles.cmake)
set(CPACK_HUNCH_DEB_DIR ${PROJECT_SOURCE_DIR}/cmake/deb)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# One line, then paragraphs of less than 80 columns; cpack indents them.
set(short "language models, reading only the weights that matter")
set(about "hunch runs language models (GGUF files, Hugging Face folders) on the
processor, counts the bytes that it reads, and leaves out neurons and heads
that do not matter for the token at hand: those that ReLU makes zero exactly,
others within a budget of perplexity.")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME hunch)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION science)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "${short}
${about}")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libhunch${soversion})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/cmake/deb/triggers)
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "${short} (library)
${about}

This is the shared library for programs in C and C++.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libhunch-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
if(HUNCH_SHARED_LIBRARY)
  set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libhunch${soversion} (= ${PROJECT_VERSION})")
endif()
# What hunch::hunch, the static library, is linked with; hunch::shared needs none of them.
string(JOIN ", " CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS libfmt-dev nlohmann-json3-dev libcli11-dev libhwy-dev
  libeigen3-dev libpcre2-dev libutf8proc-dev liburing-dev zlib1g-dev libedit-dev libcurl4-openssl-dev libssl-dev)
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "${short} (development)
${about}

These are the headers for C and C++, the static library, a CMake package and
a file for pkg-config.")
include(CPack)
