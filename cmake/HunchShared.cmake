# libhunch.so: the whole library in one file that exports what include/hunch/ declares (cmake/hunch.map). What hunch links
# statically is inside. With hunch.pc for pkg-config.
add_library(hunch_shared SHARED $<TARGET_OBJECTS:hunch_api>)
add_library(hunch::shared ALIAS hunch_shared)
target_link_libraries(hunch_shared PRIVATE hunch_api)
target_include_directories(hunch_shared INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(hunch_shared INTERFACE cxx_std_20)
set_target_properties(hunch_shared PROPERTIES OUTPUT_NAME hunch EXPORT_NAME shared LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/hunch.map)
if(NOT APPLE)  # whose linker has no version scripts: everything is exported there
  target_link_options(hunch_shared PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/hunch.map)
endif()
if(TARGET hunch)  # whoever has built the program can install
  add_dependencies(hunch hunch_shared)
endif()

install(TARGETS hunch_shared EXPORT hunchSharedTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
install(EXPORT hunchSharedTargets NAMESPACE hunch:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hunch COMPONENT development)
# The package may be moved as a whole: paths in hunch.pc are relative to it.
file(RELATIVE_PATH HUNCH_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" HUNCH_PC_PREFIX "${HUNCH_PC_PREFIX}")
configure_file(cmake/hunch.pc.in ${CMAKE_BINARY_DIR}/hunch.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/hunch.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
