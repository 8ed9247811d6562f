#include "compress/rotate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "compress/linear_algebra.h"
#include "compress/matrix/hadamard.h"
#include "io/gguf.h"
#include "linear/values.h"
#include "model/norm_names.h"

namespace hunch {
namespace {

// Whether a matrix reads the stream before attention (or another mixer), or before the MLP.
bool reads_for_mixer(Role role) {
  switch (role) {
    case Role::kQuery:
    case Role::kKey:
    case Role::kValue:
    case Role::kQueryDown:
    case Role::kLatent:
    case Role::kStateIn:
    case Role::kStateGate:
    case Role::kStateBeta:
    case Role::kStateAlpha: return true;
    default: return false;
  }
}
bool reads_for_mlp(Role role) {
  return role == Role::kGate || role == Role::kUp || role == Role::kRouter || role == Role::kSharedGate;
}
bool writes(Role role) { return role == Role::kHeads || role == Role::kDown || role == Role::kStateOut; }

void check(const Engine& engine) {
  const ModelConfig& c = engine.config();
  const ModelWeights& w = std::as_const(*engine.model).weights();
  const auto refuse = [](std::string_view what) {
    fail(ErrorKind::kUnsupported, "rotate: {}: a rotation of the stream cannot be moved past that", what);
  };
  if (!w.output || !c.causal) refuse("this model writes no text");
  if (c.n_streams > 1) refuse("this model has several streams (AltUp)");
  if (w.per_layer.n > 0) refuse("this model has embeddings for every layer");
  if (w.words_in) refuse("this model projects its embeddings");
  if (!w.embd_norm.empty()) refuse("this model normalises its embeddings");
  if (c.position == PositionKind::kSinusoidal) refuse("this model adds positions that are computed");
  if (!c.final_norm) refuse("this model has no norm before its logits");
  for (const Layer& layer : w.layers) {
    if (layer.config.norm_place != NormPlace::kPre) refuse("this model's norms stand behind additions or branches");
    if (!layer.post_attn_norm.empty() || !layer.post_ffn_norm.empty())
      refuse("this model has norms behind its branches");
    if (layer.config.sub_norms || layer.config.round_inputs) refuse("this model is ternary");
    if (layer.config.moe.beside_mlp) refuse("this model has experts beside an MLP");
    if (layer.config.moe.n_latent > 0) refuse("this model's experts read values of their own");
  }
}

// Whether heads of values may be rotated: nothing between W_v and W_o tells their numbers apart.
bool values_turn(const Layer& layer) {
  const LayerConfig& c = layer.config;
  return c.has_attention() && layer.attention.v && c.latent.rank == 0 && !c.value_norm && !c.keys_as_values &&
         !c.output_gate && c.clip_qkv == 0 && !c.borrows_keys() && !c.lends_keys;
}

class RotatedModel {
 public:
  RotatedModel(const Engine& engine, const RotateOptions& options, RotateReport& report)
      : engine_(engine),
        file_(engine.model->file()),
        weights_(std::as_const(*engine.model).weights()),
        options_(options),
        report_(report),
        rotation_(engine.config().n_embd, options.seed, engine.config().norm == NormKind::kLayer) {
    place();
  }

  const SpreadingRotation& rotation() const { return rotation_; }

  std::vector<TensorToWrite> tensors() {
    std::vector<TensorToWrite> out;
    bool has_output = false;
    for (const Tensor& t : file_.tensors) {
      TensorToWrite w{t.name, t.dtype, t.shape, [&t] { return t.data; }};
      if (const auto home = homes_.find(t.name); home != homes_.end()) {
        has_output = has_output || home->second[0]->id.role == Role::kLogits;
        const TensorRows& where = weights_.tensors.at(home->second[0]->id);
        w.name = where.name;
        w.dtype = dtype_for(*home->second[0]);
        // Stored by neuron it becomes [outputs, inputs] again, as the converter's name says.
        if (where.by_input) std::swap(w.shape[w.shape.size() - 2], w.shape[w.shape.size() - 1]);
        w.produce = [this, &list = home->second, dtype = w.dtype] { return matrices(list, dtype); };
      } else if (const auto biased = biases_.find(t.name); biased != biases_.end()) {
        w.dtype = DType::kF32;
        w.produce = [this, &t, &list = biased->second] { return biases(t, list); };
      } else if (const auto norm = norms_.find(t.name); norm != norms_.end()) {
        w.dtype = DType::kF32;
        w.produce = [this, n = norm->second] { return this->norm(*n.first, n.second); };
      } else if (t.name == "token_embd.weight" || t.name == "position_embd.weight") {
        w.dtype = t.name == "token_embd.weight" ? options_.dtype : DType::kF32;  // positions are few
        w.produce = [this, &t, dtype = w.dtype] { return table(t, {}, dtype); };
      }
      out.push_back(std::move(w));
    }
    if (!has_output) {
      const Tensor& embedding = file_.get("token_embd.weight");
      out.push_back({"output.weight", options_.dtype, embedding.shape,
                     [this, &embedding] { return table(embedding, weights_.output_norm.weight, options_.dtype); }});
    }
    return out;
  }

 private:
  using Home = std::vector<const Linear*>;  // the matrices of one tensor

  void place() {
    const auto add = [&](const Linear& linear) {
      const auto where = weights_.tensors.find(linear.id);
      if (where == weights_.tensors.end() || where->second.stored.empty())
        fail(ErrorKind::kUnsupported,
             "rotate: {} of layer {} is of low rank: rotate the model that this one was made from",
             name_of(linear.id.role), linear.id.layer);
      homes_[where->second.stored].push_back(&linear);
      const std::string bias = bias_name(where->second.name);
      if (file_.find(bias)) biases_[bias].push_back(&linear);
    };
    for (const Layer& layer : weights_.layers) {
      layer.for_each_linear([&](const Linear& linear) {
        const Role role = linear.id.role;
        if (reads_for_mixer(role) || reads_for_mlp(role) || writes(role)) add(linear);
      });
      const size_t i = layer.config.index;
      if (!layer.attn_norm.empty()) put_norm(norm_name(file_, i, true), layer.attn_norm);
      if (!layer.ffn_norm.empty()) put_norm(norm_name(file_, i, false), layer.ffn_norm);
      report_.n_values += options_.values && values_turn(layer);
    }
    const auto logits = weights_.tensors.find(weights_.output->id);
    if (logits != weights_.tensors.end() && logits->second.stored == "output.weight")
      homes_[logits->second.stored].push_back(weights_.output.get());
    put_norm(engine_.config().embd_norm_last ? "token_embd_norm" : "output_norm", weights_.output_norm);
    for (const auto& [name, home] : homes_) report_.n_matrices += home.size();
  }

  void put_norm(const std::string& name, const NormWeights& norm) {
    norms_[name + ".weight"] = {&norm, false};
    if (!norm.bias.empty()) norms_[name + ".bias"] = {&norm, true};
  }

  // Routers stay f32, as converters keep them.
  DType dtype_for(const Linear& linear) const {
    const Role role = linear.id.role;
    return role == Role::kRouter || role == Role::kSharedGate ? DType::kF32 : options_.dtype;
  }

  // What multiplies the stream before this matrix reads it; empty: nothing.
  std::span<const float> weights_before(const LinearId& id) const {
    if (id.role == Role::kLogits) return weights_.output_norm.weight;
    const Layer& layer = weights_.layers[id.layer];
    if (reads_for_mixer(id.role)) return layer.attn_norm.weight;
    if (id.role == Role::kRouter && layer.config.moe.early_router) return {};
    const bool shares = layer.ffn_norm.empty() && layer.config.parallel_residual;
    return shares ? layer.attn_norm.weight : layer.ffn_norm.weight;
  }

  // Each of the parts of d_head values of a row by the Hadamard matrix of that size.
  void turn_heads(std::span<float> row, size_t d_head) {
    auto found = heads_.find(d_head);
    if (found == heads_.end()) found = heads_.emplace(d_head, Hadamard(d_head, options_.seed)).first;
    for (size_t begin = 0; begin < row.size(); begin += d_head) found->second.multiply(row.subspan(begin, d_head));
  }

  Matrix rotated(const Linear& linear) {
    Compute& compute = *engine_.compute;
    compute.throw_if_stopped();
    Matrix W(linear.n_out, linear.n_in);
    decode_rows(compute, Values(compute, linear).rows(), W.view());
    const LinearId& id = linear.id;
    const Layer* layer = id.layer == LinearId::kNone ? nullptr : &weights_.layers[id.layer];
    const bool turns = layer && options_.values && values_turn(*layer);
    if (!writes(id.role)) {
      const std::span<const float> before = weights_before(id);
      for (size_t r = 0; r < W.rows; ++r)
        for (size_t c = 0; c < before.size(); ++c) W.row(r)[c] *= before[c];
      rotate_rows(W);
    }
    if (id.role == Role::kHeads && turns)
      for (size_t r = 0; r < W.rows; ++r) turn_heads(W.row(r), layer->config.d_head);
    if (writes(id.role) || (id.role == Role::kValue && turns)) {
      Matrix T = transpose(compute, std::as_const(W).view());
      if (writes(id.role)) {
        rotate_rows(T);
      } else {
        for (size_t r = 0; r < T.rows; ++r) turn_heads(T.row(r), layer->config.d_head);
      }
      W = transpose(compute, std::as_const(T).view());
    }
    return W;
  }

  void rotate_rows(Matrix& W) {
    engine_.compute->threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) rotation_.apply(W.row(r));
    });
  }

  std::span<const std::byte> encoded(std::span<const float> values, DType dtype) {
    bytes_.resize(values.size() * info(dtype).block_bytes);
    info(dtype).encode(values.data(), bytes_.data(), values.size());
    return bytes_;
  }

  // Valid until the next call, as the others.
  std::span<const std::byte> matrices(const Home& home, DType dtype) {
    size_t n_rows = 0;
    for (const Linear* m : home) n_rows = std::max(n_rows, weights_.tensors.at(m->id).first + m->n_out);
    const size_t stride = row_bytes(dtype, home[0]->n_in);
    bytes_.assign(n_rows * stride, std::byte(0));
    for (const Linear* m : home) {
      const Matrix W = rotated(*m);
      std::byte* const to = bytes_.data() + weights_.tensors.at(m->id).first * stride;
      info(dtype).encode(W.values.data(), to, W.values.size());
    }
    return bytes_;
  }

  std::span<const std::byte> biases(const Tensor& t, const Home& home) {
    std::vector<float> values = floats(t);
    for (const Linear* m : home) {
      const LinearId& id = m->id;
      const std::span<float> own = std::span(values).subspan(weights_.tensors.at(id).first, m->n_out);
      if (writes(id.role)) rotation_.apply(own);
      if (id.role == Role::kValue && options_.values && values_turn(weights_.layers[id.layer]))
        turn_heads(own, weights_.layers[id.layer].config.d_head);
    }
    return encoded(values, DType::kF32);
  }

  // n w + b with the weights multiplied into what reads it is n + b / w.
  std::span<const std::byte> norm(const NormWeights& norm, bool bias) {
    std::vector<float> values(norm.weight.size(), 1.0f);
    if (bias) {
      float most = 0;
      for (const float w : norm.weight) most = std::max(most, std::abs(w));
      for (size_t i = 0; i < values.size(); ++i) {
        if (norm.bias[i] != 0 && std::abs(norm.weight[i]) < 1e-4f * most)
          fail(ErrorKind::kUnsupported,
               "rotate: a norm has a bias where its weight is (nearly) 0, channel {}: it cannot be moved into what "
               "reads it",
               i);
        values[i] = norm.bias[i] == 0 ? 0 : norm.bias[i] / norm.weight[i];
      }
      rotation_.apply(values);
    }
    return encoded(values, DType::kF32);
  }

  std::span<const std::byte> table(const Tensor& t, std::span<const float> before, DType dtype) {
    Matrix W(t.rows(), t.cols());
    W.values = floats(t);
    for (size_t r = 0; r < W.rows; ++r)
      for (size_t c = 0; c < before.size(); ++c) W.row(r)[c] *= before[c];
    rotate_rows(W);
    return encoded(W.values, dtype);
  }

  static std::vector<float> floats(const Tensor& t) {
    std::vector<float> values(t.n_elems());
    for (size_t r = 0; r < t.rows(); ++r)
      codec(t.dtype).decode(t.data.data() + r * row_bytes(t.dtype, t.cols()), &values[r * t.cols()], t.cols());
    return values;
  }

  const Engine& engine_;
  const ModelFile& file_;
  const ModelWeights& weights_;
  const RotateOptions& options_;
  RotateReport& report_;
  SpreadingRotation rotation_;
  std::map<size_t, Hadamard> heads_;  // by the width of a head
  std::map<std::string, Home> homes_, biases_;
  std::map<std::string, std::pair<const NormWeights*, bool>> norms_;
  std::vector<std::byte> bytes_;
};

std::string describe(const Hadamard& h) {
  if (h.core() == 1) return fmt::format("Hadamard of {}", h.size());
  return fmt::format("{} of {} = {} x {}", h.is_random() ? "random orthogonal and Hadamard" : "Hadamard", h.size(),
                     h.core(), h.size() / h.core());
}

}  // namespace

RotateReport rotate_model(const Engine& engine, const std::filesystem::path& output, const RotateOptions& options,
                          const Progress& progress) {
  if (!info(options.dtype).is_float() || !info(options.dtype).writes())
    fail(ErrorKind::kUsage, "a rotated model is written in floats, not in {}", name_of(options.dtype));
  check(engine);
  RotateReport report;
  RotatedModel model(engine, options, report);
  report.how = describe(model.rotation().hadamard());
  Metadata meta = engine.model->file().meta;
  meta.set("general.file_type", info(options.dtype).file_type);
  meta.set("hunch.rotate.seed", options.seed);
  const std::vector<TensorToWrite> tensors = model.tensors();
  write_gguf(output, meta, tensors, progress, engine.compute->stop);
  return report;
}

}  // namespace hunch
