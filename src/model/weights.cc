#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "formats/format.h"
#include "model/transpose.h"

namespace hunch {
namespace {

class Loader {
 public:
  Loader(const ModelFile& file, const ModelConfig& config, const WeightOptions& options, Compute& compute)
      : file_(file), c_(config), options_(options), compute_(compute) {}

  ModelWeights load() {
    w_.token_embd = matrix("token_embd.weight", c_.n_vocab, c_.n_embd_word);
    if (c_.position == PositionKind::kLearned)
      w_.position_embd = vector("position_embd.weight", c_.n_ctx_train * c_.n_embd);
    if (c_.position == PositionKind::kSinusoidal) w_.position_embd = sinusoidal();
    w_.embd_norm = norm("token_embd_norm", c_.n_embd, false);
    w_.proj_in = linear("embd_proj_in", c_.n_embd, c_.n_embd_word, c_.n_embd_word != c_.n_embd);
    w_.proj_out = linear("embd_proj_out", c_.n_embd_word, c_.n_embd, c_.n_embd_word != c_.n_embd);
    w_.output_norm = norm("output_norm", c_.n_embd, false);
    w_.output = linear("output", c_.n_vocab, c_.n_embd_word, false);
    if (!w_.output.W) w_.output.W = w_.token_embd;
    w_.layers.resize(c_.n_layer);
    for (size_t i = 0; i < c_.n_layer; ++i) layer(i);
    for (const Tensor& t : file_.tensors) {
      w_.n_params += t.n_elems();
      w_.bytes += t.data.size();
    }
    return std::move(w_);
  }

 private:
  void check_shape(const Tensor& t, std::vector<uint64_t> expected) {
    // A vector of n may be stored as [1, n], a matrix with outer ones.
    std::vector<uint64_t> found = t.shape;
    while (found.size() > expected.size() && found.front() == 1) found.erase(found.begin());
    if (found != expected)
      fail(ErrorKind::kFormat, "tensor '{}': expected shape [{}], the file has [{}]", t.name, fmt::join(expected, ", "),
           fmt::join(t.shape, ", "));
    if (!info(t.dtype).computes())
      fail(ErrorKind::kUnsupported,
           "tensor '{}' is {}, which hunch does not compute with; f32, f16, bf16, q8_0, q4_0, q4_k, q5_k and q6_k work",
           t.name, name_of(t.dtype));
  }

  WeightView matrix(const std::string& name, size_t rows, size_t cols) {
    const Tensor& t = file_.get(name);
    check_shape(t, {rows, cols});
    return t.view();
  }

  Vector vector(const std::string& name, size_t n) {
    const Tensor& t = file_.get(name);
    if (t.n_elems() != n) check_shape(t, {n});
    if (!info(t.dtype).computes()) check_shape(t, {n});
    Vector values(n);
    codec(t.dtype).decode(t.data.data(), values.data(), n);
    return values;
  }

  Vector optional_vector(const std::string& name, size_t n) { return file_.find(name) ? vector(name, n) : Vector(); }

  NormWeights norm(const std::string& name, size_t n, bool required) {
    if (required && !file_.find(name + ".weight")) file_.get(name + ".weight");  // throws, naming it
    return {optional_vector(name + ".weight", n), optional_vector(name + ".bias", n)};
  }

  Linear linear(const std::string& name, size_t rows, size_t cols, bool required) {
    Linear l;
    if (required || file_.find(name + ".weight")) l.W = matrix(name + ".weight", rows, cols);
    l.bias = optional_vector(name + ".bias", rows);
    return l;
  }

  // Vaswani et al. 2017, section 3.5, in the halves layout of fairseq: sines first, then cosines;
  // frequencies 10000^(-i / (half - 1)).
  Vector sinusoidal() {
    const size_t half = c_.n_embd / 2;
    Vector table(c_.n_ctx_train * c_.n_embd, 0.0f);
    for (size_t pos = 0; pos < c_.n_ctx_train; ++pos)
      for (size_t i = 0; i < half; ++i) {
        const double angle =
            double(pos + c_.position_offset) * std::exp(-std::log(10000.0) * double(i) / double(half - 1));
        table[pos * c_.n_embd + i] = float(std::sin(angle));
        table[pos * c_.n_embd + half + i] = float(std::cos(angle));
      }
    return table;
  }

  void layer(size_t i) {
    throw_if_interrupted();
    const std::string blk = fmt::format("blk.{}.", i);
    LayerWeights& l = w_.layers[i];
    l.attn_norm = norm(blk + "attn_norm", c_.n_embd, false);
    l.ffn_norm = norm(blk + "ffn_norm", c_.n_embd, false);
    if (file_.find(blk + "attn_norm_2.weight")) {  // Falcon: attn_norm_2 is attention's, attn_norm the MLP's
      l.ffn_norm = std::move(l.attn_norm);
      l.attn_norm = norm(blk + "attn_norm_2", c_.n_embd, true);
    }
    l.post_attn_norm = norm(blk + "post_attention_norm", c_.n_embd, false);
    l.post_ffn_norm = norm(blk + "post_ffw_norm", c_.n_embd, false);
    attention(blk, l);
    if (c_.has_experts(i)) {
      experts(blk, l);
    } else {
      l.mlp = mlp(blk + "ffn", c_.n_ff);
    }
  }

  void attention(const std::string& blk, LayerWeights& l) {
    const size_t n_q = c_.n_head * c_.d_head, n_kv = c_.n_kv_head * c_.d_head;
    if (file_.find(blk + "attn_qkv.weight")) {
      const Linear qkv = linear(blk + "attn_qkv", n_q + 2 * n_kv, c_.n_embd, true);
      const auto part = [&](size_t begin, size_t n) {
        Linear p;
        p.W = qkv.W.row_range(begin, n);
        if (!qkv.bias.empty()) p.bias.assign(qkv.bias.begin() + begin, qkv.bias.begin() + begin + n);
        return p;
      };
      l.q = part(0, n_q);
      l.k = part(n_q, n_kv);
      l.v = part(n_q + n_kv, n_kv);
    } else {
      l.q = linear(blk + "attn_q", n_q, c_.n_embd, true);
      l.k = linear(blk + "attn_k", n_kv, c_.n_embd, true);
      l.v = linear(blk + "attn_v", n_kv, c_.n_embd, true);
    }
    l.o = linear(blk + "attn_output", c_.n_embd, n_q, true);
    if (c_.qk_norm != QkNorm::kNone) {
      const bool shared = c_.qk_norm == QkNorm::kShared;
      l.q_norm = norm(blk + "attn_q_norm", shared ? c_.d_head : n_q, true);
      l.k_norm = norm(blk + "attn_k_norm", shared ? c_.d_head : n_kv, true);
    }
  }

  // Rows that a ReLU leaves at zero can be skipped if the down projection is stored neuron-major.
  void arrange_down(MlpWeights& m) {
    const WeightView stored = m.down.W;
    if (!is_relu_family(c_.activation)) return;
    const bool plain = is_plain(stored.dtype);
    if (!plain && (!options_.reblock_down || c_.n_embd % info(DType::kQ8_0).block_elems != 0)) {
      w_.down_layout = DownLayout::kKept;
      return;
    }
    const DType dtype = plain ? stored.dtype : DType::kQ8_0;
    w_.down_layout = plain ? DownLayout::kTransposed : DownLayout::kReblocked;
    const size_t stride = row_bytes(dtype, c_.n_embd);
    AlignedBuffer arena(m.n_ff * stride);
    m.W_down_t = {dtype, arena.data(), m.n_ff, c_.n_embd, stride};
    if (plain) {
      transpose_plain(compute_, stored, arena.data(), stride);
    } else {
      transpose_reblocked(stored, arena.data());
    }
    m.down.W = {};
    w_.arenas.push_back(std::move(arena));
  }

  // A block of neurons at a time: decoded from the file's rows, turned, encoded along n_embd.
  void transpose_reblocked(const WeightView& W, std::byte* out) {
    const Format& from = info(W.dtype);
    const size_t tile = from.block_elems;
    compute_.threads.parallel_for(W.cols / tile, 1, [&](size_t begin, size_t end, size_t) {
      throw_if_interrupted();
      std::vector<float> decoded(tile), turned(tile * W.rows);
      for (size_t block = begin; block < end; ++block) {
        for (size_t r = 0; r < W.rows; ++r) {
          codec(W.dtype).decode(W.row(r) + block * from.block_bytes, decoded.data(), tile);
          for (size_t k = 0; k < tile; ++k) turned[k * W.rows + r] = decoded[k];
        }
        for (size_t k = 0; k < tile; ++k)
          codec(DType::kQ8_0)
              .encode(&turned[k * W.rows], out + (block * tile + k) * row_bytes(DType::kQ8_0, W.rows), W.rows);
      }
    });
  }

  MlpWeights mlp(const std::string& name, size_t n_ff) {
    MlpWeights m;
    m.n_ff = n_ff;
    if (c_.gated && !file_.find(name + "_gate.weight")) {  // Phi-3: gate and up in one tensor, gate first
      const WeightView both = matrix(name + "_up.weight", 2 * n_ff, c_.n_embd);
      m.gate.W = both.row_range(0, n_ff);
      m.up.W = both.row_range(n_ff, n_ff);
    } else {
      m.up = linear(name + "_up", n_ff, c_.n_embd, true);
      if (c_.gated) m.gate = linear(name + "_gate", n_ff, c_.n_embd, true);
    }
    if (file_.find(name + "_down_t.weight")) {  // written neuron-major by hunch
      m.W_down_t = matrix(name + "_down_t.weight", n_ff, c_.n_embd);
      m.down.bias = optional_vector(name + "_down.bias", c_.n_embd);
      if (is_relu_family(c_.activation)) w_.down_layout = DownLayout::kTransposed;
      return m;
    }
    m.down = linear(name + "_down", c_.n_embd, n_ff, true);
    arrange_down(m);
    return m;
  }

  void experts(const std::string& blk, LayerWeights& l) {
    const size_t n = c_.moe.n_expert, n_ff = c_.moe.n_ff;
    l.router = linear(blk + "ffn_gate_inp", n, c_.n_embd, true);
    const auto stack = [&](const char* part, size_t rows, size_t cols) {
      const Tensor& t = file_.get(blk + part);
      check_shape(t, {n, rows, cols});
      return t.view();
    };
    const WeightView gate = stack("ffn_gate_exps.weight", n_ff, c_.n_embd);
    const WeightView up = stack("ffn_up_exps.weight", n_ff, c_.n_embd);
    const WeightView down = stack("ffn_down_exps.weight", c_.n_embd, n_ff);
    for (size_t e = 0; e < n; ++e) {
      MlpWeights m;
      m.n_ff = n_ff;
      m.gate.W = gate.row_range(e * n_ff, n_ff);
      m.up.W = up.row_range(e * n_ff, n_ff);
      m.down.W = down.row_range(e * c_.n_embd, c_.n_embd);
      arrange_down(m);
      l.experts.push_back(std::move(m));
    }
    if (c_.moe.n_ff_shared == 0) return;
    MlpWeights& s = l.shared_expert;
    s.n_ff = c_.moe.n_ff_shared;
    s.gate = linear(blk + "ffn_gate_shexp", s.n_ff, c_.n_embd, true);
    s.up = linear(blk + "ffn_up_shexp", s.n_ff, c_.n_embd, true);
    s.down = linear(blk + "ffn_down_shexp", c_.n_embd, s.n_ff, true);
    arrange_down(s);
    if (file_.find(blk + "ffn_gate_inp_shexp.weight")) {
      const Tensor& t = file_.get(blk + "ffn_gate_inp_shexp.weight");
      if (t.n_elems() != c_.n_embd) check_shape(t, {1, c_.n_embd});
      l.shared_gate.W = {t.dtype, t.data.data(), 1, c_.n_embd, row_bytes(t.dtype, c_.n_embd)};
    }
  }

  const ModelFile& file_;
  const ModelConfig& c_;
  const WeightOptions& options_;
  Compute& compute_;
  ModelWeights w_;
};

}  // namespace

ModelWeights load_weights(const ModelFile& file, const ModelConfig& config, const WeightOptions& options,
                          Compute& compute) {
  return Loader(file, config, options, compute).load();
}

size_t extra_weight_bytes(const ModelFile& file, const ModelConfig& config, const WeightOptions& options) {
  if (!is_relu_family(config.activation)) return 0;
  size_t bytes = 0;
  for (const Tensor& t : file.tensors) {
    if (t.name.find(".ffn_down") == std::string::npos || !t.name.ends_with(".weight") ||
        t.name.ends_with("_down_t.weight"))
      continue;
    const bool plain = is_plain(t.dtype);
    if (plain) bytes += t.data.size();
    if (!plain && options.reblock_down) bytes += t.n_elems() / 32 * info(DType::kQ8_0).block_bytes;
  }
  return bytes;
}

}  // namespace hunch
