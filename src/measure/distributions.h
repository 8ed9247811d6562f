// How weights and activations of every layer are distributed, which channels are outliers, and what a compressed
// model's matrices make of the original's inputs.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"

namespace hunch {

// Magnitudes in units of their root mean square, by powers of two in three steps each: from 2^-8 (all that is smaller,
// but for zeros, falls into the first bin) to 2^8 (all that is larger: the last).
struct Magnitudes {
  static constexpr size_t kBins = 48;
  static constexpr double kLowest = -8, kPerOctave = 3;
  std::array<uint64_t, kBins> counts{};
  uint64_t n = 0, n_zeros = 0;
  double rms = 0, largest = 0, kurtosis = 0;  // 3: a normal distribution

  // Of all values at once; their mean is taken to be 0.
  void fill(std::span<const float> values);
  // Where a bin begins, in units of rms.
  static double begin_of(size_t bin);
};

// What a layer's matrices read.
enum class InputOf : uint8_t { kAttention, kHeads, kMlp, kNeurons };
constexpr size_t kNumInputs = 4;
const char* name_of(InputOf input);
// Of a dense layer's matrix; none of experts, routers and other mixers.
std::optional<InputOf> input_of(const LinearId& id);

struct InputDistribution {
  Magnitudes values;
  std::vector<float> largest;  // [n_in] |x| of each channel
  size_t n_tokens = 0;

  // Largest |x| of a channel over the median of all channels'; and the channels with 20 times that or more.
  double peak() const;
  std::vector<uint32_t> outliers() const;
};

// Of one matrix, against the original's.
struct MatrixError {
  double weights = 0;             // ||W - W'|| / ||W||
  std::optional<double> outputs;  // ||(W - W') X|| / ||W X|| on the original's inputs; none where they were not seen
};

struct LayerDistributions {
  std::map<Role, Magnitudes> weights;
  std::array<InputDistribution, kNumInputs> inputs;  // of no tokens where there is none
  std::map<Role, MatrixError> errors;                // with an original
};

struct DistributionOptions {
  size_t max_tokens = 2048, n_ctx = 512;  // of the text: windows one after the other
  size_t error_tokens = 128;              // outputs are compared on so many, spread over the text
};

// Runs the text through `original`, or else `engine`, dense, and looks at the weights of `engine`. Throws Error{kUsage}
// for a text of fewer than two tokens or an original of other shapes, Error{kFormat} naming a matrix with a weight that
// is not finite, Error{kInterrupted}.
std::vector<LayerDistributions> distributions(const Engine& engine, const Engine* original,
                                              std::span<const int32_t> ids, const DistributionOptions& options,
                                              const Progress& progress = {});

}  // namespace hunch
