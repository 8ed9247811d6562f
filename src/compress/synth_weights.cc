#include "compress/synth_weights.h"

#include <algorithm>
#include <cmath>

#include "compress/synth_noise.h"

namespace hunch {
namespace {

constexpr float kLogitDeviation = 2.0f;
// All branches together add this share of the embedding's squared norm to the residual stream: neighbouring
// layers' streams then have cosines near 0.99, as in the models that were measured (Deja Vu, section 3.3).
constexpr double kBranchEnergy = 0.25;

// Mean of f(x)^2 where x is normal.
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

class Weights {
 public:
  explicit Weights(const SynthOptions& options) : o_(options), s_(options.shape) {}

  std::vector<SynthTensor> tensors() {
    const double d = double(s_.n_embd);
    matrix("token_embd", s_.n_vocab, s_.n_embd, 1.0);
    if (opt()) matrix("position_embd", s_.n_ctx, s_.n_embd, 0.1);
    for (size_t layer = 0; layer < s_.n_layer; ++layer) this->layer(layer);
    norm("output_norm");
    matrix("output", s_.n_vocab, s_.n_embd, kLogitDeviation / std::sqrt(d));
    return std::move(out_);
  }

 private:
  bool opt() const { return s_.arch == "opt"; }

  void layer(size_t layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    const double d = double(s_.n_embd), unit = 1 / std::sqrt(d);
    const double branch = std::sqrt(kBranchEnergy / double(2 * s_.n_layer));  // norm of a branch, of the stream's
    const size_t n_kv = s_.n_kv_head * s_.d_head();
    norm(blk + "attn_norm");
    linear(blk + "attn_q", s_.n_embd, s_.n_embd, unit);
    linear(blk + "attn_k", n_kv, s_.n_embd, unit);
    linear(blk + "attn_v", n_kv, s_.n_embd, unit);
    linear(blk + "attn_output", s_.n_embd, s_.n_embd, branch * unit);
    norm(blk + "ffn_norm");
    if (s_.gated()) linear(blk + "ffn_gate", s_.n_ff, s_.n_embd, unit);
    linear(blk + "ffn_up", s_.n_ff, s_.n_embd, unit);
    const double down = branch / std::sqrt(double(s_.n_ff) * mean_square(s_.activation, 0, 1));
    const bool by_neuron =
        is_relu_family(s_.activation) && (o_.down == DownFile::kAuto || o_.down == DownFile::kNeuron);
    if (by_neuron) {
      matrix(blk + "ffn_down_t", s_.n_ff, s_.n_embd, down);
    } else {
      matrix(blk + "ffn_down", s_.n_embd, s_.n_ff, down);
    }
    if (opt()) constant(blk + "ffn_down.bias", s_.n_embd, 0);
  }

  void matrix(const std::string& name, size_t rows, size_t cols, double deviation) {
    add({name + ".weight", {rows, cols}, [seed = o_.seed, name, deviation](size_t row, std::span<float> out) {
           SynthNoise(seed, name, row).normal(float(deviation), out);
         }});
  }

  void linear(const std::string& name, size_t rows, size_t cols, double deviation) {
    matrix(name, rows, cols, deviation);
    if (opt()) constant(name + ".bias", rows, 0);
  }

  void norm(const std::string& name) {
    constant(name + ".weight", s_.n_embd, 1);
    if (opt()) constant(name + ".bias", s_.n_embd, 0);
  }

  void constant(const std::string& name, size_t n, float value) {
    add({name, {n}, [value](size_t, std::span<float> out) { std::ranges::fill(out, value); }});
  }

  void add(SynthTensor tensor) { out_.push_back(std::move(tensor)); }

  const SynthOptions& o_;
  const SynthShape& s_;
  std::vector<SynthTensor> out_;
};

}  // namespace

std::vector<SynthTensor> synth_tensors(const SynthOptions& options) { return Weights(options).tensors(); }

}  // namespace hunch
