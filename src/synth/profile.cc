#include "synth/profile.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hunch {
namespace {

constexpr double kOptNeurons[] = {896,  256,  256,  256,  256,  256,  256,  256,  384,  512,  512,
                                  512,  640,  896,  1024, 1152, 1536, 1792, 2048, 2304, 2304, 2432,
                                  2304, 2304, 2304, 2304, 2432, 2688, 2944, 3200, 3712, 3200};
constexpr double kOptWidth = 16384;
constexpr double kMaxDensity = 0.9;

}  // namespace

std::vector<double> opt_density_profile(size_t n_layer, double mean) {
  const double n_known = double(std::size(kOptNeurons));
  std::vector<double> density;
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const double at = std::clamp((double(layer) + 0.5) / double(n_layer) * n_known - 0.5, 0.0, n_known - 1);
    const size_t low = size_t(at), high = std::min(low + 1, std::size(kOptNeurons) - 1);
    density.push_back(std::lerp(kOptNeurons[low], kOptNeurons[high], at - double(low)) / kOptWidth);
  }
  if (mean <= 0) return density;
  const double factor = mean * double(n_layer) / std::accumulate(density.begin(), density.end(), 0.0);
  for (double& d : density) d *= factor;
  if (const double most = std::ranges::max(density); most > kMaxDensity)
    fail(ErrorKind::kUsage,
         "a mean density of {:g} with OPT's profile asks for {:.2f} in one layer; at most {:.2f} is possible", mean,
         most, mean * kMaxDensity / most);
  return density;
}

}  // namespace hunch
