// How gradients change parameters.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/compute.h"
#include "train/block_bytes.h"
#include "train/parameters.h"

namespace hunch {

enum class OptimizerKind : uint8_t {
  kAdamW,   // Loshchilov and Hutter 2019, arXiv:1711.05101
  kAdamW8,  // the same, and what it remembers takes a byte for each moment (train/block_bytes.h)
  kLion,    // Chen et al. 2023, arXiv:2302.06675
  kMuon,    // momentum made orthogonal (train/orthogonal.h) for the blocks' matrices, AdamW for all else
  kSgd,     // plain: it remembers nothing, so that LOMO can apply it block by block (Lv et al. 2023, arXiv:2306.09782)
};
const char* name_of(OptimizerKind kind);              // "adamw", "adamw8", "lion", "muon", "sgd"
std::vector<std::string> optimizer_names();           // in the order of OptimizerKind
OptimizerKind optimizer_from(std::string_view name);  // one of these names

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  float beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;
  float momentum = 0.95f;     // of Muon
  float weight_decay = 0.0f;  // decoupled: a parameter that decays shrinks by learning rate * weight_decay
};

class Optimizer {
 public:
  // `parameters` outlive this. Throws Error{kMemory} where there is no room for what it remembers of them.
  Optimizer(Parameters& parameters, const OptimizerOptions& options);

  // One step of all parameters with their gradients times `factor` (of clipping).
  void step(Compute& compute, float learning_rate, float factor = 1.0f);
  // The same of one layer's (Parameter::kNoLayer: those of no block), for who applies gradients as they come; begin()
  // counts the step first.
  void begin() { ++n_steps_; }
  void step_layer(Compute& compute, size_t layer, float learning_rate);

  // What it remembers of a parameter, in Parameters' order: one or two vectors as long as it (AdamW: m and v), in
  // floats or in bytes, or none.
  struct State {
    std::span<float> first, second;
    std::unique_ptr<BlockBytes> first_bytes, second_bytes;
  };
  const std::vector<State>& states() const { return states_; }
  // How much of it there is.
  size_t n_bytes() const;
  size_t n_steps() const { return n_steps_; }
  void set_n_steps(size_t n) { n_steps_ = n; }  // of a run that goes on

 private:
  // Of AdamW: both moments begin at 0, which is made up for.
  struct AdamRates {
    float shrink, rate, root, factor;
  };
  void step_parameter(Compute& compute, size_t i, float learning_rate, float factor);
  void adam_values(AdamRates r, std::span<float> x, std::span<const float> g, std::span<float> m,
                   std::span<float> v) const;
  void adam_step(Compute& compute, size_t i, AdamRates r);
  void muon_step(Compute& compute, size_t i, float shrink, float learning_rate, float factor);

  Parameters& parameters_;
  const OptimizerOptions options_;
  std::vector<AlignedBuffer> memory_;
  std::vector<State> states_;
  size_t n_steps_ = 0;
};

// sqrt of the sum of squares of all gradients, in the parameters' order.
double gradient_norm(Compute& compute, const Parameters& parameters);

// What gradients of this norm are multiplied by so that it is at most `most`; 0: 1.
float clip_factor(double norm, double most);

// Learning rates: a linear rise over n_warmup steps, then half a cosine down to `last` times the peak at the last step.
struct Schedule {
  double peak = 1e-3, last = 0.1;
  size_t n_warmup = 0, n_steps = 1;

  double at(size_t step) const;  // of step 0, 1, ..., n_steps - 1
};

}  // namespace hunch
