// Which SIMD target the kernels run on.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

// Name of the target in use, e.g. "AVX3_DL", "AVX2", "NEON", "SCALAR".
std::string simd_target_name();
// Names of the targets that are compiled in and that this CPU can run, best first.
std::vector<std::string> simd_targets();
// From now on only this target or worse ones are used (for bug reports). Case does not matter;
// "scalar" is the worst one there is. Throws Error{kUsage} listing the names.
void force_simd_target(std::string_view name);

}  // namespace hunch
