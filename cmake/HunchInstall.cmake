# `cmake --install`: the binary, the public headers, one archive and a CMake package.
