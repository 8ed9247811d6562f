#include "synth/weights.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "synth/noise.h"
#include "synth/plant.h"
#include "synth/planted_rows.h"

namespace hunch {
namespace {

class Weights {
 public:
  explicit Weights(const SynthOptions& options) : o_(options), s_(options.shape) {
    if (!o_.planting.density.empty()) planted_ = std::make_shared<const PlantedRows>(o_);
  }

  std::vector<SynthTensor> tensors() {
    const double unit = 1 / std::sqrt(double(s_.n_embd));
    if (planted_) {
      planted("token_embd", s_.n_vocab,
              [](const PlantedRows& p, size_t row, std::span<float> out) { p.embedding(row, out); });
    } else {
      matrix("token_embd", s_.n_vocab, s_.n_embd, 1.0);
    }
    if (opt()) matrix("position_embd", s_.n_ctx, s_.n_embd, kPositionDeviation);
    stream_ = 1 + (opt() ? kPositionDeviation * kPositionDeviation : 0);
    for (size_t layer = 0; layer < s_.n_layer; ++layer) {
      attention(layer);
      mlp(layer);
    }
    norm("output_norm");
    if (planted_) {
      planted("output", s_.n_vocab, [stream = stream_](const PlantedRows& p, size_t row, std::span<float> out) {
        p.output(row, stream, out);
      });
    } else {
      matrix("output", s_.n_vocab, s_.n_embd, kLogitDeviation * unit);
    }
    return std::move(out_);
  }

 private:
  bool opt() const { return s_.arch == "opt"; }

  void attention(size_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const double unit = 1 / std::sqrt(double(s_.n_embd));
    const size_t n_kv = s_.n_kv_head * s_.d_head();
    double active = 1;  // share of the heads that add to the stream
    norm(blk + "attn_norm");
    if (planted_) {
      active = o_.planting.head_density;
      const auto heads = std::make_shared<const ContextSets>(planted_->heads(layer));
      const size_t group = s_.n_head / s_.n_kv_head;
      for (const auto& [name, n_rows, n_sharing] :
           {std::tuple{"attn_q", s_.n_embd, group}, {"attn_k", n_kv, size_t{1}}}) {
        planted(blk + name, n_rows,
                [=, stream = stream_, name = blk + name, n_sharing = n_sharing](const PlantedRows& p, size_t row,
                                                                                std::span<float> out) {
                  p.key(layer, name, row, n_sharing, stream, out);
                });
        bias(blk + name, n_rows);
      }
      planted(blk + "attn_v", n_kv,
              [=, stream = stream_, name = blk + "attn_v"](const PlantedRows& p, size_t row, std::span<float> out) {
                p.value(*heads, name, row, stream, out);
              });
      bias(blk + "attn_v", n_kv);
    } else {
      linear(blk + "attn_q", s_.n_embd, s_.n_embd, unit);
      linear(blk + "attn_k", n_kv, s_.n_embd, unit);
      linear(blk + "attn_v", n_kv, s_.n_embd, unit);
    }
    linear(blk + "attn_output", s_.n_embd, s_.n_embd, std::sqrt(branch_energy(s_) / active) * unit);
    stream_ += branch_energy(s_);
  }

  void mlp(size_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const double unit = 1 / std::sqrt(double(s_.n_embd));
    const char* first = s_.gated() ? "ffn_gate" : "ffn_up";  // what the activation is applied to
    double energy = double(s_.n_ff) * mean_square(s_.activation, 0, 1);
    norm(blk + "ffn_norm");
    if (planted_) {
      const auto m = std::make_shared<const PlantedMlp>(planted_->mlp(layer, stream_at_mlp(s_, layer)));
      energy = m->energy;
      planted(blk + first, s_.n_ff, [=, name = blk + first](const PlantedRows& p, size_t row, std::span<float> out) {
        p.neuron(*m, name, row, out);
      });
      bias(blk + first, s_.n_ff);
    } else {
      linear(blk + first, s_.n_ff, s_.n_embd, unit);
    }
    if (s_.gated()) linear(blk + "ffn_up", s_.n_ff, s_.n_embd, unit);
    const double down = std::sqrt(branch_energy(s_) / energy);
    const bool by_neuron =
        is_relu_family(s_.activation) && (o_.down == DownFile::kAuto || o_.down == DownFile::kNeuron);
    if (by_neuron) {
      matrix(blk + "ffn_down_t", s_.n_ff, s_.n_embd, down);
    } else {
      matrix(blk + "ffn_down", s_.n_embd, s_.n_ff, down);
    }
    bias(blk + "ffn_down", s_.n_embd);
    stream_ += branch_energy(s_);
  }

  template <class Fill>
  void planted(const std::string& name, size_t rows, Fill fill) {
    out_.push_back({name + ".weight", {rows, s_.n_embd}, [planted = planted_, fill](size_t row, std::span<float> out) {
                      fill(*planted, row, out);
                    }});
  }

  void matrix(const std::string& name, size_t rows, size_t cols, double deviation) {
    out_.push_back(
        {name + ".weight", {rows, cols}, [seed = o_.seed, name, deviation](size_t row, std::span<float> out) {
           SynthNoise(seed, name, row).normal(float(deviation), out);
         }});
  }

  void linear(const std::string& name, size_t rows, size_t cols, double deviation) {
    matrix(name, rows, cols, deviation);
    bias(name, rows);
  }

  void bias(const std::string& name, size_t n) {
    if (opt()) constant(name + ".bias", n, 0);
  }

  void norm(const std::string& name) {
    constant(name + ".weight", s_.n_embd, 1);
    bias(name, s_.n_embd);
  }

  void constant(const std::string& name, size_t n, float value) {
    out_.push_back({name, {n}, [value](size_t, std::span<float> out) { std::ranges::fill(out, value); }});
  }

  const SynthOptions& o_;
  const SynthShape& s_;
  std::shared_ptr<const PlantedRows> planted_;
  double stream_ = 1;  // squared norm of the residual stream, relative to the embedding's
  std::vector<SynthTensor> out_;
};

}  // namespace

std::vector<SynthTensor> synth_tensors(const SynthOptions& options) { return Weights(options).tensors(); }

}  // namespace hunch
