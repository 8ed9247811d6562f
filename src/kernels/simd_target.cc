#include "kernels/simd_target.h"

#include <algorithm>
#include <bit>
#include <cctype>

#include "base/error.h"
#include "hwy/highway.h"

namespace hunch {
namespace {

std::string upper(std::string_view s) {
  std::string out(s);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return char(std::toupper(c)); });
  return out;
}

// Highway numbers better targets with lower bits.
std::vector<int64_t> usable() {
  std::vector<int64_t> targets;
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left; left &= left - 1) targets.push_back(left & -left);
  return targets;
}

}  // namespace

std::string simd_target_name() {
  const auto targets = usable();
  return targets.empty() ? "SCALAR" : upper(hwy::TargetName(targets.front()));
}

std::vector<std::string> simd_targets() {
  std::vector<std::string> names;
  for (int64_t t : usable()) names.push_back(upper(hwy::TargetName(t)));
  return names;
}

void force_simd_target(std::string_view name) {
  const auto targets = usable();
  for (int64_t t : targets) {
    if (upper(hwy::TargetName(t)) != upper(name) && !(upper(name) == "SCALAR" && t == targets.back())) continue;
    hwy::DisableTargets(t - 1);  // every better target
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return;
  }
  fail(ErrorKind::kUsage, "unknown SIMD target '{}'; this CPU runs {}", name, fmt::join(simd_targets(), ", "));
}

}  // namespace hunch
