#include "synth/plant.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "synth/vocab.h"

namespace hunch {
namespace {

constexpr double kNeuronSkew = 0.8;

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

double branch_energy(const SynthShape& shape) { return kBranchEnergy / double(shape.n_branches()); }

double stream_at_attention(const SynthShape& shape, size_t layer) {
  const double embedding = 1 + (shape.arch == "opt" ? kPositionDeviation * kPositionDeviation : 0);
  return embedding + double(2 * layer) * branch_energy(shape);
}

double stream_at_mlp(const SynthShape& shape, size_t layer) {
  return stream_at_attention(shape, layer) + branch_energy(shape);
}

void validate_planting(const SynthOptions& options) {
  const SynthPlanting& p = options.planting;
  const SynthShape& s = options.shape;
  if (p.density.size() != s.n_layer) fail(ErrorKind::kUsage, "{} densities for {} layers", p.density.size(), s.n_layer);
  if (!(p.head_density > 0 && p.head_density <= 1))
    fail(ErrorKind::kUsage, "a head density of {:g}, expected more than 0 and at most 1", p.head_density);
  for (double density : p.density)
    if (!(density > 0 && density < 1))
      fail(ErrorKind::kUsage, "a density of {:g}, expected more than 0 and less than 1", density);
  if (!(std::abs(p.next_token_margin) <= 20))
    fail(ErrorKind::kUsage, "a next-token margin of {:g}, expected -20 to 20", p.next_token_margin);
  if (p.n_contexts < 2 || p.n_contexts > 512) fail(ErrorKind::kUsage, "{} contexts, expected 2 to 512", p.n_contexts);
  if (4 * (p.n_contexts + 1) > s.n_embd)
    fail(ErrorKind::kUsage, "{} contexts need a residual stream of at least {} values; this shape has {}", p.n_contexts,
         4 * (p.n_contexts + 1), s.n_embd);
  if (s.n_vocab < kFirstSynthWord + 4 * p.n_contexts)
    fail(ErrorKind::kUsage, "{} contexts need a vocabulary of at least {}; this one has {}", p.n_contexts,
         kFirstSynthWord + 4 * p.n_contexts, s.n_vocab);
}

SynthDirections::SynthDirections(size_t n_contexts, size_t n_embd, uint64_t seed)
    : n_embd_(n_embd), values_((n_contexts + 1) * n_embd) {
  for (size_t i = 0; i <= n_contexts; ++i) {
    const std::span<float> v = std::span(values_).subspan(i * n_embd, n_embd);
    SynthNoise(seed, "directions", i).normal(1, v);
    for (int pass = 0; pass < 2; ++pass)  // Gram-Schmidt, twice for f32's sake
      for (size_t j = 0; j < i; ++j) {
        const std::span<const float> other = std::span(values_).subspan(j * n_embd, n_embd);
        axpy(-dot(v, other), other, v);
      }
    scale(1 / std::sqrt(dot(v, v)), v);
  }
}

SynthTokens::SynthTokens(size_t n_contexts, size_t n_vocab, uint64_t seed)
    : successor_(n_vocab), predecessor_(n_vocab), words_(n_contexts) {
  for (size_t id = kFirstSynthWord; id < n_vocab; ++id) words_[context_of(id)].push_back(uint32_t(id));
  for (size_t c = 0; c < n_contexts; ++c) {
    std::vector<uint32_t> cycle = words_[c];
    SynthNoise noise(seed, "cycles", c);
    for (size_t i = cycle.size(); i > 1; --i) std::swap(cycle[i - 1], cycle[noise.below(i)]);
    for (size_t i = 0; i < cycle.size(); ++i) {
      const uint32_t next = cycle[(i + 1) % cycle.size()];
      successor_[cycle[i]] = next;
      predecessor_[next] = cycle[i];
    }
  }
}

bool SynthTokens::is_word(size_t token) const { return token >= kFirstSynthWord; }

size_t SynthTokens::context_of(size_t token) const {
  if (!is_word(token)) return token % n_contexts();
  // Within the words of one length: with 64 contexts or a divisor of it, the first syllable tells the context.
  size_t word = token - kFirstSynthWord;
  for (size_t n_words = kSynthSyllables; word >= n_words; n_words *= kSynthSyllables) word -= n_words;
  return word % n_contexts();
}

double mean_square(Activation activation, double mean, double deviation) {
  constexpr int kSteps = 400;
  constexpr double kReach = 5;
  double sum = 0, weight = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double z = kReach * (2 * (i + 0.5) / kSteps - 1), w = std::exp(-z * z / 2);
    const double y = ref::activation(activation, float(mean + deviation * z));
    sum += w * y * y;
    weight += w;
  }
  return sum / weight;
}

PlantedMlp plant_mlp(const SynthShape& shape, double density, size_t n_contexts, double stream, SynthNoise& noise) {
  // What the norm leaves of each direction: the input of the MLP has squared norm n_embd.
  const double root = std::sqrt(double(shape.n_embd));
  const double context = std::sqrt(kContextEnergy / stream), constant = std::sqrt(kConstantEnergy / stream);
  const double other = 1 - (kContextEnergy + kConstantEnergy) / stream;
  // Smooth activations are near zero only well below zero.
  const double deviation = is_relu_family(shape.activation) ? 1.0 : 2.5;
  PlantedMlp m;
  m.noise = deviation / root;
  m.context = (kActiveMargin + kSilentMargin) * deviation / (context * root);
  m.constant = kSilentMargin * deviation / (constant * root);
  // The other part of the stream touches every direction a little, the more the more contexts a neuron serves.
  const auto spread = [&](double share) {
    const double n_served = share * double(n_contexts);
    return std::sqrt(deviation * deviation + other * (m.context * m.context * n_served + m.constant * m.constant));
  };
  const auto active_share = [&](double share) {
    const double s = spread(share) / deviation;
    return share * normal_cdf(kActiveMargin / s) + (1 - share) * normal_cdf(-kSilentMargin / s);
  };
  if (density < active_share(0) * 1.5 || density > active_share(1) * 0.98)
    fail(ErrorKind::kUsage, "a density of {:g} cannot be planted in this shape; possible: {:.4f} to {:.2f}", density,
         active_share(0) * 1.5, active_share(1) * 0.98);
  const std::vector<double> shares = skewed_shares(shape.n_ff, kNeuronSkew, density, active_share, noise);
  m.sets = deal_contexts(shares, n_contexts, noise);

  std::vector<size_t> count(n_contexts + 1, 0);  // neurons by the number of contexts that they serve
  for (size_t k = 0; k < shape.n_ff; ++k) ++count[m.sets.of(k).size()];
  for (size_t n = 0; n <= n_contexts; ++n) {
    if (count[n] == 0) continue;
    const double share = double(n) / double(n_contexts), s = spread(share);
    m.energy += double(count[n]) * (share * mean_square(shape.activation, kActiveMargin * deviation, s) +
                                    (1 - share) * mean_square(shape.activation, -kSilentMargin * deviation, s));
  }
  return m;
}

}  // namespace hunch
