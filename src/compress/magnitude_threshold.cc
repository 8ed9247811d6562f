#include "compress/magnitude_threshold.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "compress/input_moments.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr uint32_t kHalf = 16;

// each(bits of |w|): as whole numbers these are in the order of the values.
template <class Each>
void for_each_magnitude(const Engine& engine, std::span<const Role> roles, const Each& each) {
  Compute& compute = *engine.compute;
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    layer.for_each_linear([&](const Linear& w) {
      if (!InputMoments::covers(w.id.role) || std::ranges::find(roles, w.id.role) == roles.end()) return;
      compute.throw_if_stopped();
      Matrix W(w.n_out, w.n_in);
      decode_rows(compute, Values(compute, w).rows(), W.view());
      for (const float v : W.values) {
        if (!std::isfinite(v))
          fail(ErrorKind::kFormat, "{} of layer {} has a weight that is not finite", name_of(w.id.role), w.id.layer);
        each(std::bit_cast<uint32_t>(std::abs(v)));
      }
    });
}

// The bin that the n-th of all values falls into; n becomes its place there.
uint32_t bin_of(const std::vector<uint64_t>& counts, uint64_t& n) {
  uint32_t bin = 0;
  while (bin + 1 < counts.size() && n >= counts[bin]) n -= counts[bin++];
  return bin;
}

}  // namespace

float magnitude_threshold(const Engine& engine, std::span<const Role> roles, double share) {
  std::vector<uint64_t> counts(size_t{1} << kHalf);
  uint64_t n_all = 0;
  for_each_magnitude(engine, roles, [&](uint32_t bits) { ++counts[bits >> kHalf], ++n_all; });
  if (n_all == 0) fail(ErrorKind::kUsage, "no matrices are named");
  uint64_t n = uint64_t(double(n_all) * share);
  const uint32_t high = bin_of(counts, n);
  std::ranges::fill(counts, 0);
  for_each_magnitude(engine, roles, [&](uint32_t bits) {
    if (bits >> kHalf == high) ++counts[bits & ((uint32_t{1} << kHalf) - 1)];
  });
  return std::bit_cast<float>(high << kHalf | bin_of(counts, n));
}

}  // namespace hunch
