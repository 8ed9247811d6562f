# `cmake --install`, in three components:
#   runtime      the program, completions for bash, zsh and fish, the manual page, licence and docs
#   library      libhunch.so
#   development  the public headers, the static libraries, a CMake package (hunch::hunch, hunch::shared), hunch.pc
#
# The program is not linked to libhunch.so: that exports the public API only (cmake/hunch.map), while the program is made of
# the folders beneath it. To share them, all of the house would have to be exported.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

option(HUNCH_INSTALL_STRIPPED "Installed files have no debug information (as with cmake --install --strip)" ON)
if(HUNCH_INSTALL_STRIPPED)
  install(CODE "set(CMAKE_INSTALL_DO_STRIP ON)" ALL_COMPONENTS)
endif()

set(folders base formats io jinja text grammar kernels parallel linear state select model vulkan device engine synth measure compress train api)
set(libraries hunch_compiler)
foreach(folder IN LISTS folders)
  if(TARGET hunch_${folder})
    list(APPEND libraries hunch_${folder})
  endif()
endforeach()
add_library(hunch_hunch INTERFACE)
set_target_properties(hunch_hunch PROPERTIES EXPORT_NAME hunch)
target_link_libraries(hunch_hunch INTERFACE hunch_api)
target_compile_features(hunch_hunch INTERFACE cxx_std_20)
add_library(hunch::hunch ALIAS hunch_hunch)

install(DIRECTORY include/hunch DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
if(TARGET hunch)
  install(TARGETS hunch RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
  if(TARGET hunch_mpi_module)  # in no package: it would ask for MPI
    install(TARGETS hunch_mpi_module LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/hunch COMPONENT mpi)
  endif()
  install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
  install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
  include(HunchShell)
endif()
if(HUNCH_SHARED_LIBRARY)
  include(HunchShared)
endif()
configure_file(cmake/hunchConfig.cmake.in ${CMAKE_BINARY_DIR}/hunchConfig.cmake @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/hunchConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/hunchConfig.cmake ${CMAKE_BINARY_DIR}/hunchConfigVersion.cmake cmake/HunchDependencies.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunch COMPONENT development)

# Static libraries can only name libraries that their users find as well, and not what was fetched for this build.
get_property(fetched GLOBAL PROPERTY HUNCH_HAS_FETCHED)
if(fetched)
  message(STATUS "hunch: some libraries were fetched; `cmake --install` installs no static libraries")
else()
  # Dependencies that have no package of their own are named by their libraries.
  install(TARGETS ${libraries} hunch_hunch EXPORT hunchTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/hunch COMPONENT development)
  install(EXPORT hunchTargets NAMESPACE hunch:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunch COMPONENT development)
  # CMake strips programs and shared libraries only; most of an archive is debug information.
  install(CODE "
    if(CMAKE_INSTALL_DO_STRIP AND NOT \"${CMAKE_STRIP}\" STREQUAL \"\")
      file(GLOB archives \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/hunch/libhunch_*.a\")
      execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug \${archives} COMMAND_ERROR_IS_FATAL ANY)
    endif()" COMPONENT development)
endif()
include(HunchPackage)
