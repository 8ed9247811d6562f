# `cmake --install`: the binary, the public headers, the libraries and a CMake package (hunch::hunch, hunch::shared).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(folders base formats io jinja text kernels linear state select model engine synth measure compress api)
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

install(DIRECTORY include/hunch DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET hunch)
  install(TARGETS hunch RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(HUNCH_SHARED_LIBRARY)
  include(HunchShared)
endif()
configure_file(cmake/hunchConfig.cmake.in ${CMAKE_BINARY_DIR}/hunchConfig.cmake @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/hunchConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/hunchConfig.cmake ${CMAKE_BINARY_DIR}/hunchConfigVersion.cmake cmake/HunchDependencies.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunch)

# Static libraries can only name libraries that their users find as well, and not what was fetched for this build.
get_property(fetched GLOBAL PROPERTY HUNCH_HAS_FETCHED)
if(fetched)
  message(STATUS "hunch: some libraries were fetched; `cmake --install` installs no static libraries")
  return()
endif()
# Dependencies that have no package of their own are named by their libraries.
install(TARGETS ${libraries} hunch_hunch EXPORT hunchTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/hunch)
install(EXPORT hunchTargets NAMESPACE hunch:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunch)
