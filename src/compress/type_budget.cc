#include "compress/type_budget.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

// Places of the choices on the lower hull, from the smallest on; of equal bytes the one of less loss.
std::vector<size_t> hull(const std::vector<TypeChoice>& choices) {
  HUNCH_CHECK(!choices.empty());
  std::vector<size_t> order(choices.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return choices[a].bytes != choices[b].bytes ? choices[a].bytes < choices[b].bytes
                                                : choices[a].loss < choices[b].loss;
  });
  const auto slope = [&](size_t a, size_t b) {
    return (choices[a].loss - choices[b].loss) / double(choices[b].bytes - choices[a].bytes);
  };
  std::vector<size_t> found;
  for (const size_t i : order) {
    if (!found.empty() && choices[i].loss >= choices[found.back()].loss) continue;
    if (!found.empty() && choices[i].bytes == choices[found.back()].bytes) continue;
    while (found.size() > 1 && slope(found[found.size() - 2], found.back()) <= slope(found.back(), i)) found.pop_back();
    found.push_back(i);
  }
  return found;
}

}  // namespace

std::vector<size_t> first_choices(std::span<const std::vector<TypeChoice>> matrices) {
  std::vector<size_t> first;
  for (const std::vector<TypeChoice>& choices : matrices) first.push_back(hull(choices)[0]);
  return first;
}

std::vector<Upgrade> upgrades_of(std::span<const std::vector<TypeChoice>> matrices) {
  std::vector<Upgrade> all;
  for (size_t m = 0; m < matrices.size(); ++m) {
    const std::vector<size_t> points = hull(matrices[m]);
    for (size_t i = 1; i < points.size(); ++i) {
      const TypeChoice &before = matrices[m][points[i - 1]], &after = matrices[m][points[i]];
      all.push_back({m, points[i], (before.loss - after.loss) / double(after.bytes - before.bytes)});
    }
  }
  // Gains fall along a hull, so that a matrix' own stay in order.
  std::ranges::stable_sort(all, std::greater(), &Upgrade::gain);
  return all;
}

std::vector<size_t> spend(std::span<const std::vector<TypeChoice>> matrices, std::span<const Upgrade> upgrades,
                          uint64_t bytes) {
  std::vector<size_t> chosen = first_choices(matrices);
  uint64_t spent = 0;
  for (size_t m = 0; m < chosen.size(); ++m) spent += matrices[m][chosen[m]].bytes;
  for (const Upgrade& u : upgrades) {
    const uint64_t more = matrices[u.matrix][u.choice].bytes - matrices[u.matrix][chosen[u.matrix]].bytes;
    if (spent + more > bytes) continue;  // as will be whatever is larger still
    spent += more;
    chosen[u.matrix] = u.choice;
  }
  return chosen;
}

}  // namespace hunch
