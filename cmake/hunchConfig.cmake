# find_package(hunch): the target hunch::hunch and what it links.
include(${CMAKE_CURRENT_LIST_DIR}/HunchDependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/hunchTargets.cmake)
