// Compiles where model/ is visible and fails where it is not (tests/CMakeLists.txt).
#include "model/config.h"
