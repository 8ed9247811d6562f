// What is planted in a synthetic model: tokens belong to contexts, the residual stream says which, and neurons
// and heads serve sets of contexts. docs/synth.md derives the numbers.
#pragma once
#include <span>
#include <vector>

#include "synth/sets.h"
#include "synth/synth.h"

namespace hunch {

// Shares of the embedding's squared norm; they sum to 1.
constexpr double kContextEnergy = 0.5, kConstantEnergy = 0.2, kTokenEnergy = 0.3;

// All branches together add this share of the embedding's squared norm to the residual stream: neighbouring
// layers' streams then have cosines near 0.99, as in the models that were measured (Deja Vu, section 3.3).
constexpr double kBranchEnergy = 0.25;

// A neuron's pre-activation lies this far above zero in the contexts that it serves, and below in others, in
// deviations of its noise: 93 % and 0.1 % of the tokens activate it.
constexpr double kActiveMargin = 1.5, kSilentMargin = 3.0;

// Deviation of learned positions, where the embedding's is 1.
constexpr double kPositionDeviation = 0.1;

// Squared norm that one branch adds to the residual stream, and those of the stream that enters a layer's attention and
// its MLP; relative to the embedding's.
double branch_energy(const SynthShape& shape);
double stream_at_attention(const SynthShape& shape, size_t layer);
double stream_at_mlp(const SynthShape& shape, size_t layer);

// Throws Error{kUsage} naming what options.planting asks for and the shape has no room for.
void validate_planting(const SynthOptions& options);

// The contexts' directions and the constant direction (which serves as a bias): orthonormal, [n_embd] each.
class SynthDirections {
 public:
  SynthDirections(size_t n_contexts, size_t n_embd, uint64_t seed);
  std::span<const float> context(size_t c) const { return std::span(values_).subspan((c + 1) * n_embd_, n_embd_); }
  std::span<const float> constant() const { return std::span(values_).first(n_embd_); }

 private:
  size_t n_embd_;
  std::vector<float> values_;
};

// The vocabulary's partition. The words of a context form one cycle: each has a most probable successor.
class SynthTokens {
 public:
  SynthTokens(size_t n_contexts, size_t n_vocab, uint64_t seed);
  size_t n_contexts() const { return words_.size(); }
  bool is_word(size_t token) const;
  size_t context_of(size_t token) const;
  // Of words only.
  size_t successor(size_t token) const { return successor_[token]; }
  size_t predecessor(size_t token) const { return predecessor_[token]; }
  std::span<const uint32_t> words(size_t context) const { return words_[context]; }

 private:
  std::vector<uint32_t> successor_, predecessor_;
  std::vector<std::vector<uint32_t>> words_;
};

// How the rows of one layer's up projection (gate, where gated) are made: row k is
// noise * r + context * (sum of the directions in sets.of(k)) - constant * (constant direction), r normal.
struct PlantedMlp {
  ContextSets sets;
  double noise = 0, context = 0, constant = 0;
  double energy = 0;  // expected sum of act(..)^2 over the neurons
};

// `stream` is the squared norm of the residual stream at this layer, relative to the embedding's.
PlantedMlp plant_mlp(const SynthShape& shape, double density, size_t n_contexts, double stream, SynthNoise& noise);

// Mean of f(x)^2 where x is normal.
double mean_square(Activation activation, double mean, double deviation);

}  // namespace hunch
