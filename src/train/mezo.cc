#include "train/mezo.h"

#include <algorithm>

#include "train/random_values.h"

namespace hunch {
namespace {

constexpr size_t kDirectionPiece = 4096;  // values that are drawn from one stream

// change(parameter, its values, the direction's), a piece at a time.
template <class Change>
void for_pieces_along(Compute& compute, Parameters& parameters, const Direction& z, const Change& change) {
  for (const auto& p : parameters.all) {
    const std::span<float> values = p->values();
    compute.threads.parallel_for(
        (values.size() + kDirectionPiece - 1) / kDirectionPiece, 1, [&](size_t begin, size_t end) {
          float memory[kDirectionPiece];
          for (size_t piece = begin; piece < end; ++piece) {
            const size_t first = piece * kDirectionPiece, n = std::min(kDirectionPiece, values.size() - first);
            z(*p, first, std::span(memory, n));
            change(*p, values.subspan(first, n), std::span<const float>(memory, n));
          }
        });
  }
}

}  // namespace

Direction normal_direction(uint64_t seed) {
  return [seed](const Parameter& p, size_t first, std::span<float> z) {
    RandomValues random(RandomValues(seed, p.name).next(), uint64_t{first});
    for (float& v : z) v = random.normal();
  };
}

void perturb(Compute& compute, Parameters& parameters, const Direction& z, float scale) {
  for_pieces_along(compute, parameters, z,
                   [&](const Parameter&, std::span<float> values, std::span<const float> along) {
                     for (size_t i = 0; i < values.size(); ++i) values[i] += scale * along[i];
                   });
}

double projected_gradient(Compute& compute, Parameters& parameters, const Direction& z, float eps,
                          const std::function<double()>& loss, double* mean_loss) {
  perturb(compute, parameters, z, eps);
  const double plus = loss();
  perturb(compute, parameters, z, -2 * eps);
  const double minus = loss();
  perturb(compute, parameters, z, eps);
  *mean_loss = (plus + minus) / 2;
  return (plus - minus) / (2 * double(eps));
}

void step_along(Compute& compute, Parameters& parameters, const Direction& z, double gradient, float learning_rate,
                float weight_decay) {
  for_pieces_along(compute, parameters, z,
                   [&](const Parameter& p, std::span<float> values, std::span<const float> along) {
                     const float decay = p.decays ? weight_decay : 0.0f;
                     for (size_t i = 0; i < values.size(); ++i)
                       values[i] -= learning_rate * (float(gradient) * along[i] + decay * values[i]);
                   });
}

}  // namespace hunch
