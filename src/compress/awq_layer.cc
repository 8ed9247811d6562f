#include "compress/awq_layer.h"

#include <algorithm>

#include "base/error.h"
#include "compress/matrix/smoothquant.h"
#include "linear/stored.h"
#include "linear/values.h"

namespace hunch {
namespace {

// Keeps what W_o or the down projection reads.
class Outputs : public Observer {
 public:
  explicit Outputs(bool of_attention) : of_attention_(of_attention) {}
  void on_heads(size_t, MatView<const float> attn_out) override {
    if (of_attention_) keep(attn_out);
  }
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> ff_act) override {
    if (!of_attention_ && place.is_dense()) keep(ff_act);
  }
  Matrix rows;

 private:
  void keep(MatView<const float> X) {
    rows.cols = X.cols;
    rows.rows += X.rows;
    for (size_t t = 0; t < X.rows; ++t) rows.values.insert(rows.values.end(), X.row(t).begin(), X.row(t).end());
  }
  bool of_attention_;
};

class LayerSearch {
 public:
  LayerSearch(const Engine& engine, BlockWalk& walk, std::span<const size_t> windows, const InputMoments& moments,
              const AwqRounding& rounding)
      : engine_(engine),
        compute_(*engine.compute),
        walk_(walk),
        windows_(windows),
        moments_(moments),
        rounding_(rounding),
        layer_(engine.model->weights().layers[walk.layer()]) {}

  LayerScaling run() {
    Attention& a = layer_.attention;
    Mlp& m = layer_.mlp;
    const LayerConfig& c = layer_.config;
    const bool plain_attention = a.q && a.k && a.v && a.o && c.latent.rank == 0;
    const NormFed fed = fed_by_norms(layer_);
    if (fed.attention) scaling_.attn_norm = through_block({&a.q, &a.k, &a.v}, *a.o, true);
    if (plain_attention && c.n_kv_head == c.n_head && c.clip_qkv == 0 && !c.value_norm) at_output(*a.v, *a.o);
    if (!m.up || !m.down) return std::move(scaling_);
    if (fed.mlp) scaling_.ffn_norm = through_block({&m.gate, &m.up}, *m.down, false);
    if (up_is_linear(c)) at_output(*m.up, *m.down);
    return std::move(scaling_);
  }

 private:
  static bool up_is_linear(const LayerConfig& c) {
    const ActivationDetails& d = c.details;
    if (c.gated) return d.limit == 0 && d.up_offset == 0;
    return c.activation == Activation::kRelu && d.threshold == 0;  // relu(s x) = s relu(x)
  }

  Matrix values(const Linear& linear) const {
    Matrix W(linear.n_out, linear.n_in);
    decode_rows(compute_, Values(compute_, linear).rows(), W.view());
    return W;
  }

  AwqScales search(const Linear& first, std::span<const Matrix* const> matrices,
                   const std::function<double(std::span<const float>)>& loss) const {
    const InputMoment& moment = moments_.of(first.id);
    std::vector<float> x_mean(moment.magnitudes.size()), w_mean;
    for (size_t c = 0; c < x_mean.size(); ++c) x_mean[c] = float(moment.magnitudes[c] / double(moment.n_tokens));
    if (rounding_.duo) w_mean = relative_weight_means(matrices, rounding_.group ? rounding_.group : first.n_in);
    return search_awq_scales(x_mean, w_mean, loss);
  }

  // Of matrices that read one norm, seen at the output of `last`, which comes after them.
  std::vector<float> through_block(std::vector<std::unique_ptr<Linear>*> slots, const Linear& last, bool attention) {
    std::erase_if(slots, [](const auto* slot) { return !*slot; });
    std::vector<Matrix> own;
    std::vector<const Matrix*> pointers;
    for (const auto* slot : slots) own.push_back(values(**slot));
    for (const Matrix& W : own) pointers.push_back(&W);
    const Matrix after = values(last), want = outputs(attention);
    const auto loss = [&](std::span<const float> s) {
      std::vector<Matrix> rounded;
      for (const Matrix& W : own) rounded.push_back(rounded_as_scaled(compute_, W, s, rounding_.round));
      Matrix got = outputs_with(slots, rounded, attention);
      for (size_t i = 0; i < got.values.size(); ++i) got.values[i] -= want.values[i];
      double sum = 0;
      for (float v : multiply_nt(compute_, got.view(), after.weights()).values) sum += double(v) * v;
      return sum;
    };
    const AwqScales best = search(**slots[0], pointers, loss);
    for (const auto* slot : slots) scaling_.by_input[(*slot)->id.role] = best.scales;
    return best.scales;
  }

  Matrix outputs(bool attention) {
    Outputs seen(attention);
    walk_.watch(windows_, seen);
    return std::move(seen.rows);
  }

  // What the block computes with other matrices in these places.
  Matrix outputs_with(std::span<std::unique_ptr<Linear>* const> slots, const std::vector<Matrix>& matrices,
                      bool attention) {
    std::vector<std::unique_ptr<Linear>> own;
    for (size_t i = 0; i < slots.size(); ++i) {
      own.push_back(std::move(*slots[i]));
      const std::span<const float> bias = own[i]->bias();
      *slots[i] = std::make_unique<Stored>(own[i]->id, matrices[i].weights(), WeightView(),
                                           std::vector<float>(bias.begin(), bias.end()), engine_.model->layouts());
    }
    const auto restore = [&] {
      for (size_t i = 0; i < slots.size(); ++i) *slots[i] = std::move(own[i]);
    };
    try {
      Matrix rows = outputs(attention);
      restore();
      return rows;
    } catch (...) {
      restore();
      throw;
    }
  }

  // Of `matrix`, whose inputs are the outputs of `before`.
  void at_output(const Linear& before, const Linear& matrix) {
    const Matrix W = values(matrix);
    const Matrix* const one[] = {&W};
    const Matrix& M = moments_.of(matrix.id).sum;
    const AwqScales best = search(matrix, one, [&](std::span<const float> s) {
      return output_error(compute_, W, rounded_as_scaled(compute_, W, s, rounding_.round), M);
    });
    scaling_.by_input[matrix.id.role] = best.scales;
    scaling_.by_output[before.id.role] = best.scales;
  }

  const Engine& engine_;
  Compute& compute_;
  BlockWalk& walk_;
  std::span<const size_t> windows_;
  const InputMoments& moments_;
  const AwqRounding& rounding_;
  Layer& layer_;
  LayerScaling scaling_;
};

}  // namespace

LayerScaling search_layer_scaling(const Engine& engine, BlockWalk& walk, std::span<const size_t> windows,
                                  const InputMoments& moments, const AwqRounding& rounding) {
  return LayerSearch(engine, walk, windows, moments, rounding).run();
}

NormFed fed_by_norms(const Layer& layer) {
  const Attention& a = layer.attention;
  const LayerConfig& c = layer.config;
  const bool pre = c.norm_place == NormPlace::kPre, alone = !c.parallel_residual || !layer.ffn_norm.empty();
  return {a.q && a.k && a.v && a.o && c.latent.rank == 0 && pre && alone && !layer.attn_norm.empty(),
          layer.mlp.up && layer.mlp.down && pre && !layer.ffn_norm.empty()};
}

void scale_matrix(const LayerScaling& scaling, Role role, Matrix& W) {
  if (const auto in = scaling.by_input.find(role); in != scaling.by_input.end()) scale_inputs(in->second, W);
  if (const auto out = scaling.by_output.find(role); out != scaling.by_output.end()) unscale_outputs(out->second, W);
}

Matrix scaled_moment(const LayerScaling& scaling, Role role, const Matrix& M) {
  Matrix out = M;
  const auto in = scaling.by_input.find(role);
  if (in == scaling.by_input.end()) return out;
  const std::vector<float>& s = in->second;
  for (size_t r = 0; r < M.rows; ++r)
    for (size_t c = 0; c < M.cols; ++c) out.row(r)[c] /= s[r] * s[c];
  return out;
}

}  // namespace hunch
