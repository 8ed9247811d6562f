#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "model/ranks.h"
#include "model/weight_loader.h"

namespace hunch {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";

}  // namespace

WeightLoader::WeightLoader(const ModelFile& file, const ModelConfig& config, const WeightOptions& options,
                           Compute& compute, InputForms forms)
    : file_(file),
      c_(config),
      options_(options),
      compute_(compute),
      forms_(std::move(forms)),
      shard_(options.ranks && !options.ranks->by_layers() ? options.ranks->shard() : Shard()),
      layers_{0, config.n_layer} {
  if (options.ranks) check_divisible(config);
  if (options.ranks && options.ranks->by_layers())
    layers_ = layers_of(config, options.ranks->division, options.ranks->shard());
}

ModelWeights WeightLoader::load() {
  if (options_.disk) plan_disk();
  if (!shard_.is_whole()) divide();
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
  if (!c_.vocabulary_ends.empty()) {
    const size_t n_clusters = c_.vocabulary_ends.size() - 1;
    w_.adaptive.ends = c_.vocabulary_ends;
    if (n_clusters > 0) {
      w_.adaptive.weight = vector("output_clusters.weight", n_clusters * c_.n_embd);
      w_.adaptive.bias = vector("output_clusters.bias", n_clusters);
    }
  }
  if (c_.n_per_layer > 0) per_layer_embedding();
  if (c_.n_streams > 1) {
    w_.streams.spread = by_stream(Role::kStreamIn, "altup_proj.weight");
    w_.streams.merge = by_stream(Role::kStreamOut, "altup_unembd_proj.weight");
  }
  w_.layers.resize(c_.n_layer);
  for (size_t i = 0; i < c_.n_layer; ++i) {
    if (i >= layers_.begin && i < layers_.begin + layers_.n) {
      layer(i);
    } else {
      w_.layers[i].config = c_.layers[i];
      w_.layers[i].config.elsewhere = true;
    }
  }
  if (options_.ranks && options_.ranks->by_layers() && !options_.ranks->is_last()) w_.output = nullptr;
  gather_words();
  w_.layouts->turn(compute_, turns_, "storing the down projections by neuron");
  for (const Tensor& t : file_.tensors) {
    w_.n_params += n_weights(t);
    w_.bytes += t.data.size();
  }
  if (w_.disk) divide_memory();
  return std::move(w_);
}

Vector WeightLoader::sinusoidal() {
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

void WeightLoader::rank_head() {
  const Tensor* out = file_.find("cls.output.weight");
  if (!out) return;
  RankHead& head = w_.rank_head;
  head.n_labels = out->rows();
  head.out = vector(out->name, head.n_labels * c_.n_embd);
  head.out_bias = optional_vector("cls.output.bias", head.n_labels);
  head.dense = optional_vector("cls.weight", c_.n_embd * c_.n_embd);
  head.dense_bias = optional_vector("cls.bias", c_.n_embd);
  head.norm = optional_vector("cls.norm.weight", c_.n_embd);
  head.norm_bias = optional_vector("cls.norm.bias", c_.n_embd);
  head.norm_eps = c_.norm_eps;
  head.of_mean = c_.rank_of_mean;
  if (!head.norm.empty() && head.dense.empty()) file_.get("cls.weight");  // throws, naming it
}

void WeightLoader::per_layer_embedding() {
  const size_t n_all = c_.n_layer * c_.n_per_layer;
  PerLayerEmbedding& p = w_.per_layer;
  p.n = c_.n_per_layer;
  const std::string name = "per_layer_token_embd.weight";
  p.table = matrix(name, file_.get(name).rows(), n_all);
  p.project = linear({.role = Role::kPerLayer}, "per_layer_model_proj", n_all, c_.n_embd, true);
  p.norm = norm("per_layer_proj_norm", p.n, true);
}

void WeightLoader::layer(size_t i) {
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
  if (!shard_.is_whole()) l.config = w_.parts.part(l.config);
}

std::vector<std::unique_ptr<Linear>> WeightLoader::by_stream(Role role, const std::string& name) {
  return by_head({.role = role}, name, c_.n_streams - 1, c_.n_embd, c_.n_embd);
}

void WeightLoader::streams_of_layer(const std::string& blk, Layer& l) {
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

void WeightLoader::norms_beside(const std::string& blk, BesideNorms& norms) {
  norms.mlp_output = norm(blk + "post_ffw_norm_1", c_.n_embd, true);
  norms.input = norm(blk + "pre_ffw_norm_2", c_.n_embd, true);
  norms.output = norm(blk + "post_ffw_norm_2", c_.n_embd, true);
  norms.router.weight = vector(blk + "ffn_gate_inp.scale", c_.n_embd);
  for (float& w : norms.router.weight) w /= std::sqrt(float(c_.n_embd));
}

const Mlp& ModelWeights::any_mlp() const {
  const auto found = std::ranges::find_if(layers, [](const Layer& l) { return bool(l.any_mlp().down); });
  return found == layers.end() ? layers[0].mlp : found->any_mlp();
}

ModelWeights load_weights(const ModelFile& file, const ModelConfig& config, const WeightOptions& options,
                          Compute& compute) {
  const HeldOtherwise held = held_otherwise(file);
  const auto has_form = [](const Tensor& t) { return !ordered_name(t.name).empty() || !rotated_name(t.name).empty(); };
  if (held.n_tensors == 0 && std::ranges::none_of(file.tensors, has_form))
    return WeightLoader(file, config, options, compute).load();
  ModelFile computing = hold_exactly(file, compute);
  InputForms forms{take_input_orders(computing), take_rotated(computing)};
  ModelWeights weights = WeightLoader(computing, config, options, compute, std::move(forms)).load();
  weights.held = held;
  weights.owners = computing.owners;
  return weights;
}

}  // namespace hunch
