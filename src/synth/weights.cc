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
      const char block = s_.is_hybrid() ? s_.hybrid.blocks[layer] : ' ';
      if (block == 'M') mamba2(layer);
      if (block == 'E') experts(layer);
      if (block == '*') plain_attention(layer);
      if (block != ' ') continue;
      attention(layer);
      s_.is_mixture() ? mixture(layer) : mlp(layer);
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
  static constexpr size_t kSharedNumber = 1u << 20;  // a number that no expert has
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

  // Nothing is planted: context passes through it as noise does.
  void plain_attention(size_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const double unit = 1 / std::sqrt(double(s_.n_embd));
    const size_t n_kv = s_.n_kv_head * s_.d_head();
    norm(blk + "attn_norm");
    matrix(blk + "attn_q", s_.n_embd, s_.n_embd, unit);
    matrix(blk + "attn_k", n_kv, s_.n_embd, unit);
    matrix(blk + "attn_v", n_kv, s_.n_embd, unit);
    matrix(blk + "attn_output", s_.n_embd, s_.n_embd, std::sqrt(branch_energy(s_)) * unit);
    stream_ += branch_energy(s_);
  }

  // States that forget within some tens of tokens; what they say is normalised.
  void mamba2(size_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const SynthHybrid& h = s_.hybrid;
    const size_t width = h.width(), n_conv = width + 2 * h.n_group * h.d_state;
    norm(blk + "attn_norm");
    matrix(blk + "ssm_in", width + n_conv + h.n_state_head, s_.n_embd, 1 / std::sqrt(double(s_.n_embd)));
    matrix(blk + "ssm_conv1d", n_conv, h.n_taps, 1 / std::sqrt(double(h.n_taps)));
    constant(blk + "ssm_conv1d.bias", n_conv, 0);
    constant(blk + "ssm_dt.bias", h.n_state_head, -3);
    constant(blk + "ssm_a", h.n_state_head, -1);
    out_.back().shape.push_back(1);
    constant(blk + "ssm_d", h.n_state_head, 1);
    out_.back().shape.push_back(1);
    constant(blk + "ssm_norm.weight", width, 1);
    out_.back().shape = {h.n_group, width / h.n_group};
    matrix(blk + "ssm_out", s_.n_embd, width, std::sqrt(branch_energy(s_) / double(width)));
    stream_ += branch_energy(s_);
  }

  // Half of what the branch adds is the routed experts', whose weights sum to 1, half the shared one's.
  void experts(size_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const SynthHybrid& h = s_.hybrid;
    norm(blk + "attn_norm");
    matrix(blk + "ffn_gate_inp", h.n_expert, s_.n_embd, 1 / std::sqrt(double(s_.n_embd)));
    constant(blk + "exp_probs_b.bias", h.n_expert, 0);
    neurons(layer, blk, "_exps", s_.n_ff, h.n_expert, 0.5 * branch_energy(s_) * double(h.n_expert_used));
    neurons(layer, blk, "_shexp", h.n_ff_shared, 1, 0.5 * branch_energy(s_));
    stream_ += branch_energy(s_);
  }

  // Mixtral's: the outputs of the experts that a token goes to are weighted by shares that sum to 1.
  void mixture(size_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const SynthHybrid& h = s_.hybrid;
    const double unit = 1 / std::sqrt(double(s_.n_embd));
    const double energy = double(s_.n_ff) * mean_square(s_.activation, 0, 1);
    norm(blk + "ffn_norm");
    matrix(blk + "ffn_gate_inp", h.n_expert, s_.n_embd, unit);
    const auto stack = [&](const char* name, size_t rows, size_t cols, double deviation) {
      out_.push_back({blk + name + ".weight", {h.n_expert, rows, cols}, noise(blk + name, deviation)});
    };
    stack("ffn_gate_exps", s_.n_ff, s_.n_embd, unit);
    stack("ffn_up_exps", s_.n_ff, s_.n_embd, unit);
    stack("ffn_down_exps", s_.n_embd, s_.n_ff, std::sqrt(branch_energy(s_) * double(h.n_expert_used) / energy));
    stream_ += branch_energy(s_);
  }

  // The matrices of `n` MLPs, each of which would add `added` alone.
  void neurons(size_t layer, const std::string& blk, const char* suffix, size_t n_ff, size_t n, double added) {
    const std::string up = blk + "ffn_up" + suffix, down = blk + "ffn_down" + suffix;
    const std::vector<uint64_t> outer = n > 1 ? std::vector<uint64_t>{n} : std::vector<uint64_t>();
    const auto shape = [&](size_t rows, size_t cols) {
      std::vector<uint64_t> all = outer;
      all.insert(all.end(), {rows, cols});
      return all;
    };
    double energy = double(n_ff) * mean_square(s_.activation, 0, 1);
    SynthTensor t{up + ".weight", shape(n_ff, s_.n_embd), {}};
    if (planted_) {
      auto mlps = std::make_shared<std::vector<PlantedMlp>>();
      for (size_t e = 0; e < n; ++e) mlps->push_back(planted_->expert(layer, n > 1 ? e : kSharedNumber, n_ff, stream_));
      energy = mlps->front().energy;
      t.fill = [planted = planted_, mlps, n_ff, up](size_t row, std::span<float> out) {
        planted->neuron((*mlps)[row / n_ff], fmt::format("{}.{}", up, row / n_ff), row % n_ff, out);
      };
    } else {
      t.fill = noise(up, 1 / std::sqrt(double(s_.n_embd)));
    }
    out_.push_back(std::move(t));
    const double deviation = std::sqrt(added / energy);
    if (by_neuron()) {
      out_.push_back({blk + "ffn_down_t" + suffix + ".weight", shape(n_ff, s_.n_embd), noise(down, deviation)});
    } else {
      out_.push_back({down + ".weight", shape(s_.n_embd, n_ff), noise(down, deviation)});
    }
  }

  bool by_neuron() const {
    return is_relu_family(s_.activation) && (o_.down == DownFile::kAuto || o_.down == DownFile::kNeuron);
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
    if (by_neuron()) {
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
    out_.push_back({name + ".weight", {rows, cols}, noise(name, deviation)});
  }

  std::function<void(size_t, std::span<float>)> noise(const std::string& name, double deviation) const {
    return [seed = o_.seed, name, deviation](size_t row, std::span<float> out) {
      SynthNoise(seed, name, row).normal(float(deviation), out);
    };
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
