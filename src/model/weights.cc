#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "formats/format.h"
#include "io/low_rank_names.h"
#include "linear/low_rank.h"
#include "linear/ternary.h"
#include "linear/transpose.h"

namespace hunch {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";

class Loader {
 public:
  Loader(const ModelFile& file, const ModelConfig& config, const WeightOptions& options, Compute& compute)
      : file_(file), c_(config), options_(options), compute_(compute) {}

  ModelWeights load() {
    w_.token_embd = matrix(kEmbedding, c_.n_vocab, c_.n_embd_word);
    w_.tensors[{.role = Role::kEmbedding}] = {kEmbedding, kEmbedding, 0, c_.n_vocab, c_.n_embd_word};
    if (c_.position == PositionKind::kLearned)
      w_.position_embd = vector("position_embd.weight", c_.n_ctx_train * c_.n_embd);
    if (c_.position == PositionKind::kSinusoidal) w_.position_embd = sinusoidal();
    if (const Tensor* types = file_.find("token_types.weight"))
      w_.type_embd = vector(types->name, std::max<size_t>(1, types->rows()) * c_.n_embd);
    w_.embd_norm = c_.embd_norm_last ? NormWeights() : norm("token_embd_norm", c_.n_embd, false);
    rank_head();
    const bool projected = c_.n_embd_word != c_.n_embd;
    if (projected) {
      w_.words_in = linear({.role = Role::kWordsIn}, "embd_proj_in", c_.n_embd, c_.n_embd_word, true);
      w_.words_out = linear({.role = Role::kWordsOut}, "embd_proj_out", c_.n_embd_word, c_.n_embd, true);
    }
    w_.output_norm = norm(c_.embd_norm_last ? "token_embd_norm" : "output_norm", c_.n_embd, false);
    w_.output = linear({.role = Role::kLogits}, "output", c_.n_vocab, c_.n_embd_word, false);
    if (!w_.output && c_.has_output)
      w_.output = stored({.role = Role::kLogits}, {"output.weight", kEmbedding}, w_.token_embd,
                         optional_vector("output.bias", c_.n_vocab));
    if (c_.n_per_layer > 0) per_layer_embedding();
    if (c_.n_streams > 1) {
      w_.streams.spread = by_stream(Role::kStreamIn, "altup_proj.weight");
      w_.streams.merge = by_stream(Role::kStreamOut, "altup_unembd_proj.weight");
    }
    w_.layers.resize(c_.n_layer);
    for (size_t i = 0; i < c_.n_layer; ++i) layer(i);
    w_.layouts->turn(compute_, turns_, "storing the down projections by neuron");
    for (const Tensor& t : file_.tensors) {
      w_.n_params += t.n_elems();
      w_.bytes += t.data.size();
    }
    return std::move(w_);
  }

 private:
  void check_dims(const Tensor& t, const std::vector<uint64_t>& expected) {
    // A vector of n may be stored as [1, n], a matrix with outer ones.
    std::vector<uint64_t> found = t.shape;
    while (found.size() > expected.size() && found.front() == 1) found.erase(found.begin());
    if (found != expected)
      fail(ErrorKind::kFormat, "tensor '{}': expected shape [{}], the file has [{}]", t.name, fmt::join(expected, ", "),
           fmt::join(t.shape, ", "));
  }

  void check_shape(const Tensor& t, const std::vector<uint64_t>& expected) {
    check_dims(t, expected);
    if (!info(t.dtype).computes())
      fail(ErrorKind::kUnsupported, "tensor '{}' is {}, which hunch does not compute with; weights may be {}", t.name,
           name_of(t.dtype), types_of_weights());
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

  static TensorRows tensor(const std::string& name, size_t first = 0) { return {name, name, first}; }

  std::unique_ptr<Linear> stored(LinearId id, TensorRows where, WeightView W, Vector bias = {}) {
    where.n_out = W.rows;
    where.n_in = W.cols;
    w_.tensors[id] = std::move(where);
    return std::make_unique<Stored>(id, W, WeightView(), std::move(bias), *w_.layouts);
  }

  // As one tensor or as two factors.
  bool has(const std::string& name) const { return file_.find(name + ".weight") || file_.find(low_rank_u(name)); }

  // The factors of a matrix, or those of a layer's experts one after the other.
  struct Factors {
    WeightView U, V;  // [n * n_out, rank], [n * rank, n_in]
    size_t rank;
  };
  Factors factors(const std::string& name, std::vector<uint64_t> outer, size_t n_out, size_t n_in) {
    if (file_.find(name + ".weight"))
      fail(ErrorKind::kFormat, "the file has both '{}.weight' and '{}'", name, low_rank_u(name));
    const Tensor &U = file_.get(low_rank_u(name)), &V = file_.get(low_rank_v(name));
    const size_t rank = U.cols();
    const auto shape = [&](size_t rows, size_t cols) {
      std::vector<uint64_t> all = outer;
      all.insert(all.end(), {rows, cols});
      return all;
    };
    check_shape(U, shape(n_out, rank));
    check_shape(V, shape(rank, n_in));
    return {U.view(), V.view(), rank};
  }

  std::unique_ptr<Linear> low_rank(LinearId id, const std::string& name, const WeightView& U, const WeightView& V,
                                   Vector bias = {}) {
    auto matrix = std::make_unique<LowRank>(id, stored(id, {}, U, std::move(bias)), stored(id, {}, V));
    w_.tensors[id] = {name + ".weight", "", 0, U.rows, V.cols};
    return matrix;
  }

  // None where the file has none and none is required.
  std::unique_ptr<Linear> linear(LinearId id, const std::string& name, size_t rows, size_t cols, bool required) {
    if (file_.find(low_rank_u(name))) {
      const Factors f = factors(name, {}, rows, cols);
      return low_rank(id, name, f.U, f.V, optional_vector(name + ".bias", rows));
    }
    if (!required && !file_.find(name + ".weight")) return nullptr;
    const std::string weight = name + ".weight";
    if (ternary_scale(file_, file_.get(weight))) return ternary(id, name, rows, cols);
    return stored(id, tensor(weight), matrix(weight, rows, cols), optional_vector(name + ".bias", rows));
  }

  // -1, 0 and 1, in whatever type, and one number beside them.
  std::unique_ptr<Linear> ternary(LinearId id, const std::string& name, size_t rows, size_t cols) {
    TensorRows where = tensor(name + ".weight");
    const Tensor& t = file_.get(where.name);
    check_dims(t, {rows, cols});
    where.n_out = rows;
    where.n_in = cols;
    w_.tensors[id] = std::move(where);
    const Vector scale = vector(name + ".scale", 1);
    const bool skips = id.role == Role::kDown && is_relu_family(c_.activation);
    if (skips) w_.down_layout = DownLayout::kTransposed;
    return std::make_unique<Ternary>(
        id, compute_, t.view(), optional_vector(name + ".bias", rows),
        Ternary::Options{.scale = scale[0], .round_inputs = c_.round_inputs, .by_input = skips}, t.name);
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

  void rank_head() {
    const Tensor* out = file_.find("cls.output.weight");
    if (!out) return;
    RankHead& head = w_.rank_head;
    head.n_labels = out->rows();
    head.out = vector(out->name, head.n_labels * c_.n_embd);
    head.out_bias = optional_vector("cls.output.bias", head.n_labels);
    head.dense = optional_vector("cls.weight", c_.n_embd * c_.n_embd);
    head.dense_bias = optional_vector("cls.bias", c_.n_embd);
  }

  void per_layer_embedding() {
    const size_t n_all = c_.n_layer * c_.n_per_layer;
    PerLayerEmbedding& p = w_.per_layer;
    p.n = c_.n_per_layer;
    const std::string name = "per_layer_token_embd.weight";
    p.table = matrix(name, file_.get(name).rows(), n_all);
    p.project = linear({.role = Role::kPerLayer}, "per_layer_model_proj", n_all, c_.n_embd, true);
    p.norm = norm("per_layer_proj_norm", p.n, true);
  }

  void layer(size_t i) {
    compute_.throw_if_stopped();
    const std::string blk = fmt::format("blk.{}.", i);
    Layer& l = w_.layers[i];
    l.config = c_.layers[i];
    l.attn_norm = norm(blk + "attn_norm", c_.n_embd, false);
    l.ffn_norm = norm(blk + "ffn_norm", c_.n_embd, false);
    if (file_.find(blk + "attn_norm_2.weight")) {  // Falcon: attn_norm_2 is attention's, attn_norm the MLP's
      l.ffn_norm = std::move(l.attn_norm);
      l.attn_norm = norm(blk + "attn_norm_2", c_.n_embd, true);
    }
    if (file_.find("blk.0.attn_output_norm.weight") && c_.norm_place == NormPlace::kPost) {  // BERT's names
      l.attn_norm = norm(blk + "attn_output_norm", c_.n_embd, true);
      l.ffn_norm = norm(blk + "layer_output_norm", c_.n_embd, true);
    }
    l.post_attn_norm = norm(blk + "post_attention_norm", c_.n_embd, false);
    // In files of some architectures the MLP's norm has this name: it stands after attention.
    if (c_.norm_place == NormPlace::kPre && !c_.parallel_residual && l.ffn_norm.empty())
      l.ffn_norm = std::exchange(l.post_attn_norm, {});
    l.post_ffn_norm = norm(blk + "post_ffw_norm", c_.n_embd, false);
    if (l.config.mixer == Mixer::kNone) l.ffn_norm = std::exchange(l.attn_norm, {});
    mixer(blk, l);
    if (const Vector scale = optional_vector(blk + "layer_output_scale.weight", 1); !scale.empty())
      l.output_scale = scale[0];
    if (c_.n_per_layer > 0) {
      const auto id = [&](Role role) { return LinearId{uint32_t(i), role}; };
      l.per_layer.gate = linear(id(Role::kPerLayerGate), blk + "inp_gate", c_.n_per_layer, c_.n_embd, true);
      l.per_layer.project = linear(id(Role::kPerLayerOut), blk + "proj", c_.n_embd, c_.n_per_layer, true);
      l.per_layer.norm = norm(blk + "post_norm", c_.n_embd, true);
    }
    if (c_.n_streams > 1) streams_of_layer(blk, l);
    if (l.config.has_experts()) experts(blk, l.config, l.experts);
    if (l.config.moe.beside_mlp) norms_beside(blk, l.beside);
    if (l.config.n_ff > 0 && (!l.config.has_experts() || l.config.moe.beside_mlp)) {
      l.mlp = mlp(l.config, LinearId::kNone, blk + "ffn", "", l.config.n_ff);
      if (l.config.sub_norms) l.mlp.sub_norm = norm(blk + "ffn_sub_norm", l.config.n_ff, true);
    }
  }

  std::vector<std::unique_ptr<Linear>> by_stream(Role role, const std::string& name) {
    return by_head({.role = role}, name, c_.n_streams - 1, c_.n_embd, c_.n_embd);
  }

  void streams_of_layer(const std::string& blk, Layer& l) {
    const size_t n = c_.n_streams;
    l.alt_up.router_norm = norm(blk + "altup_router_norm", c_.n_embd, true);
    l.alt_up.router = vector(blk + "altup_router.weight", n * c_.n_embd);
    l.alt_up.prediction = vector(blk + "altup_predict_coef.weight", n * n * n);
    l.alt_up.correction = vector(blk + "altup_correct_coef.weight", n * n);
    l.alt_up.output_scale = optional_vector(blk + "altup_correct_scale.weight", c_.n_embd);
    const size_t rank = file_.find(blk + "laurel_l.weight") ? file_.get(blk + "laurel_l.weight").rows() : 0;
    const auto id = [&](Role role) { return LinearId{uint32_t(l.config.index), role}; };
    l.laurel.left = linear(id(Role::kLaurelLeft), blk + "laurel_l", rank, c_.n_embd, true);
    l.laurel.right = linear(id(Role::kLaurelRight), blk + "laurel_r", c_.n_embd, rank, true);
    l.laurel.norm = norm(blk + "laurel_post_norm", c_.n_embd, true);
  }

  void norms_beside(const std::string& blk, BesideNorms& norms) {
    norms.mlp_output = norm(blk + "post_ffw_norm_1", c_.n_embd, true);
    norms.input = norm(blk + "pre_ffw_norm_2", c_.n_embd, true);
    norms.output = norm(blk + "post_ffw_norm_2", c_.n_embd, true);
    norms.router.weight = vector(blk + "ffn_gate_inp.scale", c_.n_embd);
    for (float& w : norms.router.weight) w /= std::sqrt(float(c_.n_embd));
  }

  // A matrix of every head, from the tensor that holds them all.
  std::vector<std::unique_ptr<Linear>> by_head(LinearId id, const std::string& name, size_t n, size_t rows,
                                               size_t cols) {
    const Tensor& t = file_.get(name);
    check_shape(t, {n, rows, cols});
    std::vector<std::unique_ptr<Linear>> heads;
    for (id.expert = 0; id.expert < n; ++id.expert)
      heads.push_back(stored(id, tensor(name, id.expert * rows), t.view().row_range(id.expert * rows, rows)));
    return heads;
  }

  void latent_attention(const std::string& blk, const LayerConfig& c, Attention& a) {
    const LatentConfig& l = c.latent;
    const size_t n_rot = c.d_head - l.rank, n_q = c.n_head * (l.d_plain + n_rot);
    const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
    if (l.rank_q > 0) {
      a.latent.q_down = linear(id(Role::kQueryDown), blk + "attn_q_a", l.rank_q, c.n_embd, true);
      a.latent.q_norm = norm(blk + "attn_q_a_norm", l.rank_q, true);
      a.latent.q_up = linear(id(Role::kQueryUp), blk + "attn_q_b", n_q, l.rank_q, true);
    } else {
      a.q = linear(id(Role::kQuery), blk + "attn_q", n_q, c.n_embd, true);
    }
    a.latent.kv = linear(id(Role::kLatent), blk + "attn_kv_a_mqa", l.rank + n_rot, c.n_embd, true);
    a.latent.kv_norm = norm(blk + "attn_kv_a_norm", l.rank, true);
    a.latent.key = by_head(id(Role::kLatentKey), blk + "attn_k_b.weight", c.n_head, l.rank, l.d_plain);
    a.latent.value = by_head(id(Role::kLatentValue), blk + "attn_v_b.weight", c.n_head, l.d_value, l.rank);
    a.o = linear(id(Role::kHeads), blk + "attn_output", c.n_embd, c.n_head * l.d_value, true);
  }

  void mixer(const std::string& blk, Layer& l) {
    const LayerConfig& c = l.config;
    switch (c.mixer) {
      case Mixer::kNone: return;
      case Mixer::kAttention: return attention(blk, c, l.attention);
      case Mixer::kShortConv: return short_conv(blk + "shortconv.", c, l.short_conv);
      case Mixer::kMamba2: return mamba2(blk, c, l.mamba2);
      case Mixer::kDeltaNet: return delta_net(blk, c, l.delta_net);
    }
  }

  // A convolution's weights, a row per tap: files have one per channel.
  Vector taps(const std::string& name, const RecurrentConfig& r) {
    const size_t n = r.n_conv();
    const Vector by_channel = vector(name, n * r.n_taps);
    Vector taps(by_channel.size());
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < r.n_taps; ++j) taps[j * n + i] = by_channel[i * r.n_taps + j];
    return taps;
  }

  void short_conv(const std::string& name, const LayerConfig& c, ShortConv& m) {
    const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
    m.in = linear(id(Role::kStateIn), name + "in_proj", 3 * c.recurrent.width(), c.n_embd, true);
    m.taps = taps(name + "conv.weight", c.recurrent);
    m.out = linear(id(Role::kStateOut), name + "out_proj", c.n_embd, c.recurrent.width(), true);
  }

  void mamba2(const std::string& blk, const LayerConfig& c, Mamba2& m) {
    const RecurrentConfig& r = c.recurrent;
    const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
    m.in = linear(id(Role::kStateIn), blk + "ssm_in", r.width() + r.n_conv() + r.n_head, c.n_embd, true);
    m.taps = taps(blk + "ssm_conv1d.weight", r);
    m.conv_bias = optional_vector(blk + "ssm_conv1d.bias", r.n_conv());
    m.dt_bias = vector(blk + "ssm_dt.bias", r.n_head);
    m.a = vector(blk + "ssm_a", r.n_head);
    m.d = vector(blk + "ssm_d", r.n_head);
    m.norm = norm(blk + "ssm_norm", r.width(), true);
    m.out = linear(id(Role::kStateOut), blk + "ssm_out", c.n_embd, r.width(), true);
  }

  void delta_net(const std::string& blk, const LayerConfig& c, DeltaNet& m) {
    const RecurrentConfig& r = c.recurrent;
    const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
    m.in = linear(id(Role::kStateIn), blk + "attn_qkv", r.n_conv(), c.n_embd, true);
    m.gate = linear(id(Role::kStateGate), blk + "attn_gate", r.width(), c.n_embd, true);
    if (has(blk + "ssm_ba")) {
      m.beta_alpha = linear(id(Role::kStateBeta), blk + "ssm_ba", 2 * r.n_head, c.n_embd, true);
    } else {
      m.beta = linear(id(Role::kStateBeta), blk + "ssm_beta", r.n_head, c.n_embd, true);
      m.alpha = linear(id(Role::kStateAlpha), blk + "ssm_alpha", r.n_head, c.n_embd, true);
    }
    m.taps = taps(blk + "ssm_conv1d.weight", r);
    m.dt_bias = vector(blk + "ssm_dt.bias", r.n_head);
    m.a = vector(blk + "ssm_a", r.n_head);
    m.norm = norm(blk + "ssm_norm", r.d_head, true);
    m.out = linear(id(Role::kStateOut), blk + "ssm_out", c.n_embd, r.width(), true);
  }

  void attention(const std::string& blk, const LayerConfig& c, Attention& a) {
    if (c.latent.rank > 0) return latent_attention(blk, c, a);
    const size_t n_q = c.n_head * c.d_head, n_kv = c.n_kv_head * c.d_head;
    const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
    if (const std::string fused = blk + "attn_qkv.weight"; file_.find(fused)) {
      const WeightView qkv = matrix(fused, n_q + 2 * n_kv, c.n_embd);
      const Vector bias = optional_vector(blk + "attn_qkv.bias", n_q + 2 * n_kv);
      const auto part = [&](Role role, size_t begin, size_t n) {
        Vector own;
        if (!bias.empty()) own.assign(bias.begin() + ptrdiff_t(begin), bias.begin() + ptrdiff_t(begin + n));
        return stored(id(role), tensor(fused, begin), qkv.row_range(begin, n), std::move(own));
      };
      a.q = part(Role::kQuery, 0, n_q);
      a.k = part(Role::kKey, n_q, n_kv);
      a.v = part(Role::kValue, n_q + n_kv, n_kv);
    } else {
      a.q = linear(id(Role::kQuery), blk + "attn_q", c.output_gate ? 2 * n_q : n_q, c.n_embd, true);
      if (!c.borrows_keys()) a.k = linear(id(Role::kKey), blk + "attn_k", n_kv, c.n_embd, true);
      if (!c.borrows_keys() && !c.keys_as_values) a.v = linear(id(Role::kValue), blk + "attn_v", n_kv, c.n_embd, true);
    }
    a.o = linear(id(Role::kHeads), blk + "attn_output", c.n_embd, n_q, true);
    if (c.sub_norms) a.sub_norm = norm(blk + "attn_sub_norm", n_q, true);
    a.sinks = optional_vector(blk + "attn_sinks.weight", c.n_head);
    if (c.qk_norm != QkNorm::kNone) {
      const bool shared = c.qk_norm == QkNorm::kShared;
      a.q_norm = norm(blk + "attn_q_norm", shared ? c.d_head : n_q, true);
      if (!c.borrows_keys()) a.k_norm = norm(blk + "attn_k_norm", shared ? c.d_head : n_kv, true);
    }
  }

  // Rows that a ReLU leaves at zero can be skipped if the down projection is stored neuron-major.
  void arrange_down(const LayerConfig& c, Linear& whole) {
    if (!c.makes_zeros()) return;
    if (dynamic_cast<const Ternary*>(&whole)) return;  // has what it needs
    auto& down = static_cast<Stored&>(whole.factor(Axis::kIn));
    const DType stored = down.rows().dtype;
    const bool plain = is_plain(stored);
    // What is held without loss is not rounded anew without being asked.
    const bool reblocks = options_.reblock_down && !info(stored).in_memory_only;
    if (!plain && (!reblocks || down.n_out % info(DType::kQ8_0).block_elems != 0)) {
      w_.down_layout = DownLayout::kKept;
      return;
    }
    w_.down_layout = plain ? DownLayout::kTransposed : DownLayout::kReblocked;
    turns_.push_back({&down, plain ? stored : DType::kQ8_0});
  }

  // `suffix`: of an expert's tensors.
  Mlp mlp(const LayerConfig& c, uint32_t expert, const std::string& name, const std::string& suffix, size_t n_ff) {
    const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role, expert}; };
    Mlp m;
    m.n_ff = n_ff;
    if (c.gated && !has(name + "_gate" + suffix)) {  // Phi-3: gate and up in one tensor, gate first
      const std::string fused = name + "_up" + suffix + ".weight";
      const WeightView both = matrix(fused, 2 * n_ff, c.n_embd);
      m.gate = stored(id(Role::kGate), tensor(fused), both.row_range(0, n_ff));
      m.up = stored(id(Role::kUp), tensor(fused, n_ff), both.row_range(n_ff, n_ff));
    } else {
      m.up = linear(id(Role::kUp), name + "_up" + suffix, n_ff, c.n_embd, true);
      if (c.gated) m.gate = linear(id(Role::kGate), name + "_gate" + suffix, n_ff, c.n_embd, true);
    }
    // Written neuron-major by hunch.
    if (const std::string turned = name + "_down_t" + suffix + ".weight"; file_.find(turned)) {
      w_.tensors[id(Role::kDown)] = {name + "_down" + suffix + ".weight", turned, 0, c.n_embd, n_ff, true};
      m.down = std::make_unique<Stored>(id(Role::kDown), WeightView(), matrix(turned, n_ff, c.n_embd),
                                        optional_vector(name + "_down" + suffix + ".bias", c.n_embd), *w_.layouts);
      if (c.makes_zeros()) w_.down_layout = DownLayout::kTransposed;
      return m;
    }
    m.down = linear(id(Role::kDown), name + "_down" + suffix, c.n_embd, n_ff, true);
    arrange_down(c, *m.down);
    return m;
  }

  // One matrix of every expert, from the tensor that holds them all.
  void stack(LinearId id, const std::string& name, size_t rows, size_t cols, std::vector<Mlp>& experts,
             std::unique_ptr<Linear> Mlp::*matrix) {
    const size_t n = experts.size();
    const Vector biases = optional_vector(name + ".bias", n * rows);
    const auto bias = [&] {
      if (biases.empty()) return Vector();
      const auto begin = biases.begin() + ptrdiff_t(id.expert * rows);
      return Vector(begin, begin + ptrdiff_t(rows));
    };
    if (file_.find(low_rank_u(name))) {
      const Factors f = factors(name, {n}, rows, cols);
      for (id.expert = 0; id.expert < n; ++id.expert)
        experts[id.expert].*matrix = low_rank(id, name, f.U.row_range(id.expert * rows, rows),
                                              f.V.row_range(id.expert * f.rank, f.rank), bias());
      return;
    }
    const Tensor& t = file_.get(name + ".weight");
    check_shape(t, {n, rows, cols});
    for (id.expert = 0; id.expert < n; ++id.expert)
      experts[id.expert].*matrix =
          stored(id, tensor(t.name, id.expert * rows), t.view().row_range(id.expert * rows, rows), bias());
  }

  // Written neuron-major by hunch: [n_expert, n_ff, n_embd].
  void turned_downs(const LayerConfig& c, const std::string& name, const std::string& as_rows,
                    std::vector<Mlp>& experts) {
    const size_t n_ff = c.moe.n_ff;
    const Tensor& t = file_.get(name);
    check_shape(t, {experts.size(), n_ff, c.n_embd});
    LinearId id{uint32_t(c.index), Role::kDown};
    for (id.expert = 0; id.expert < experts.size(); ++id.expert) {
      w_.tensors[id] = {as_rows, name, id.expert * c.n_embd, c.n_embd, n_ff, true};
      experts[id.expert].down =
          std::make_unique<Stored>(id, WeightView(), t.view().row_range(id.expert * n_ff, n_ff), Vector(), *w_.layouts);
    }
    if (c.makes_zeros()) w_.down_layout = DownLayout::kTransposed;
  }

  // Gates and then ups of every expert in one tensor, [n_expert, 2 n_ff, n_embd].
  void stack_of_both(uint32_t layer, const std::string& name, const LayerConfig& c, std::vector<Mlp>& experts) {
    const size_t n_ff = c.moe.n_ff;
    const Tensor& t = file_.get(name);
    check_shape(t, {experts.size(), 2 * n_ff, c.n_embd});
    for (uint32_t e = 0; e < experts.size(); ++e) {
      const auto part = [&](Role role, size_t first) {
        return stored({layer, role, e}, tensor(name, first), t.view().row_range(first, n_ff));
      };
      experts[e].gate = part(Role::kGate, 2 * e * n_ff);
      experts[e].up = part(Role::kUp, (2 * e + 1) * n_ff);
    }
  }

  void experts(const std::string& blk, const LayerConfig& c, Experts& e) {
    const size_t n = c.moe.n_expert, n_ff = c.moe.n_ff;
    const auto layer = uint32_t(c.index);
    e.router = linear({layer, Role::kRouter}, blk + "ffn_gate_inp", n, c.n_embd, true);
    e.choice_bias = optional_vector(blk + "exp_probs_b.bias", n);
    for (uint32_t i = 0; i < n; ++i) e.experts.emplace_back().n_ff = n_ff;
    if (file_.find(blk + "ffn_gate_up_exps.weight")) {
      stack_of_both(layer, blk + "ffn_gate_up_exps.weight", c, e.experts);
    } else {
      if (c.gated) stack({layer, Role::kGate}, blk + "ffn_gate_exps", n_ff, c.n_embd, e.experts, &Mlp::gate);
      stack({layer, Role::kUp}, blk + "ffn_up_exps", n_ff, c.n_embd, e.experts, &Mlp::up);
    }
    e.factors = optional_vector(blk + "ffn_down_exps.scale", n);
    if (const std::string turned = blk + "ffn_down_t_exps.weight"; file_.find(turned)) {
      turned_downs(c, turned, blk + "ffn_down_exps.weight", e.experts);
    } else {
      stack({layer, Role::kDown}, blk + "ffn_down_exps", c.n_embd, n_ff, e.experts, &Mlp::down);
      for (Mlp& m : e.experts) arrange_down(c, *m.down);
    }
    if (c.moe.n_ff_shared == 0) return;
    e.shared = mlp(c, LinearId::kShared, blk + "ffn", "_shexp", c.moe.n_ff_shared);
    if (file_.find(blk + "ffn_gate_inp_shexp.weight")) {
      const Tensor& t = file_.get(blk + "ffn_gate_inp_shexp.weight");
      if (t.n_elems() != c.n_embd) check_shape(t, {1, c.n_embd});
      e.shared_gate = stored({layer, Role::kSharedGate}, tensor(t.name),
                             {t.dtype, t.data.data(), 1, c.n_embd, row_bytes(t.dtype, c.n_embd)});
    }
  }

  const ModelFile& file_;
  const ModelConfig& c_;
  const WeightOptions& options_;
  Compute& compute_;
  ModelWeights w_;
  std::vector<Layouts::TurnRequest> turns_;  // once all are loaded
};

}  // namespace

const Mlp& ModelWeights::any_mlp() const {
  const auto found = std::ranges::find_if(layers, [](const Layer& l) { return bool(l.any_mlp().down); });
  return found == layers.end() ? layers[0].mlp : found->any_mlp();
}

ModelWeights load_weights(const ModelFile& file, const ModelConfig& config, const WeightOptions& options,
                          Compute& compute) {
  const HeldOtherwise held = held_otherwise(file);
  if (held.n_tensors == 0) return Loader(file, config, options, compute).load();
  const ModelFile computing = hold_exactly(file, compute);
  ModelWeights weights = Loader(computing, config, options, compute).load();
  weights.held = held;
  weights.owners = computing.owners;
  return weights;
}

}  // namespace hunch
