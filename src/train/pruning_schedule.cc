#include "train/pruning_schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

void check(const PruningSchedule& s) {
  if (!(s.initial >= 0 && s.initial <= s.final && s.final < 1))
    fail(ErrorKind::kUsage, "a schedule from {} to {} of zeros: expected 0 <= initial <= final < 1", s.initial,
         s.final);
  if (!(s.power > 0) || s.every == 0 || s.n_changes == 0)
    fail(ErrorKind::kUsage, "a schedule of power {}, {} changes every {} steps: expected more than 0", s.power,
         s.n_changes, s.every);
}

}  // namespace

double scheduled_sparsity(const PruningSchedule& s, size_t step) {
  check(s);
  if (step < s.begin) return 0;
  const size_t change = std::min((step - s.begin) / s.every, s.n_changes);
  const double left = 1 - double(change) / double(s.n_changes);
  return s.final + (s.initial - s.final) * std::pow(left, s.power);
}

bool changes_masks(const PruningSchedule& s, size_t step) {
  check(s);
  return step >= s.begin && (step - s.begin) % s.every == 0 && (step - s.begin) / s.every <= s.n_changes;
}

}  // namespace hunch
