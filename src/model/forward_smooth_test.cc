// CATS, GRIFFIN and TEAL against their definitions, written as loops over decoded weights.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/test_paths.h"
#include "formats/format.h"
#include "model/forward.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

using Rows = std::vector<std::vector<double>>;

Rows copy(MatView<const float> X) {
  Rows out;
  for (size_t t = 0; t < X.rows; ++t) out.emplace_back(X.row(t).begin(), X.row(t).end());
  return out;
}

// W x + bias on decoded weights.
std::vector<double> product(const WeightView& W, const Vector& bias, const std::vector<double>& x) {
  std::vector<double> y(W.rows);
  std::vector<float> row(W.cols);
  for (size_t r = 0; r < W.rows; ++r) {
    codec(W.dtype).decode(W.row(r), row.data(), row.size());
    y[r] = bias.empty() ? 0.0 : double(bias[r]);
    for (size_t c = 0; c < W.cols; ++c) y[r] += double(row[c]) * x[c];
  }
  return y;
}

std::vector<double> product_transposed(const WeightView& Wt, const Vector& bias, const std::vector<double>& a) {
  std::vector<double> y(Wt.cols);
  for (size_t c = 0; c < y.size(); ++c) y[c] = bias.empty() ? 0.0 : double(bias[c]);
  std::vector<float> row(Wt.cols);
  for (size_t k = 0; k < Wt.rows; ++k) {
    codec(Wt.dtype).decode(Wt.row(k), row.data(), row.size());
    for (size_t c = 0; c < y.size(); ++c) y[c] += a[k] * double(row[c]);
  }
  return y;
}

std::vector<double> above(std::vector<double> x, double threshold) {
  for (double& v : x)
    if (std::abs(v) <= threshold) v = 0;
  return x;
}

std::vector<double> down(const MlpWeights& m, const std::vector<double>& a) {
  return m.W_down_t ? product_transposed(m.W_down_t, m.down.bias, a) : product(m.down.W, m.down.bias, a);
}

struct Seen : ForwardObserver {
  size_t layer = 1;
  Rows attn_in, v, heads, attn_out, mlp_in, mlp_out;
  void on_attention_input(size_t l, MatView<const float> x) override {
    if (l == layer) attn_in = copy(x);
  }
  void on_attention(size_t l, MatView<const float>, MatView<const float>, MatView<const float> x) override {
    if (l == layer) v = copy(x);
  }
  void on_heads(size_t l, MatView<const float> x) override {
    if (l == layer) heads = copy(x);
  }
  void on_mlp(size_t l, MatView<const float> in, MatView<const float>) override {
    if (l == layer) mlp_in = copy(in);
  }
  void on_branch(size_t l, Branch branch, MatView<const float>, MatView<const float> out) override {
    if (l == layer) (branch == Branch::kMlp ? mlp_out : attn_out) = copy(out);
  }
};

void expect_near(const Rows& got, const Rows& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t t = 0; t < got.size(); ++t) {
    ASSERT_EQ(got[t].size(), want[t].size());
    double scale = 1e-6;
    for (double v : want[t]) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < got[t].size(); ++i)
      ASSERT_NEAR(got[t][i], want[t][i], 2e-5 * scale) << what << ", token " << t << ", value " << i;
  }
}

// SwiGLU without biases; GELU without a gate, with biases; ReLU stored by neuron.
class ForwardSmoothTest : public ::testing::TestWithParam<const char*> {
 protected:
  ForwardSmoothTest() {
    std::mt19937 rng(5);
    for (int32_t& id : ids_) id = int32_t(rng() % model_.config().n_vocab);
    plan_.layers.resize(model_.config().n_layer);
    forward_.mode = Mode::kSparse;
    forward_.plan = &plan_;
  }

  const LayerWeights& weights(size_t layer) const { return model_.weights().layers[layer]; }
  double act(double x) const { return ref::activation(model_.config().activation, float(x)); }

  // The last n of so many tokens, in a pass of their own; logits.
  std::vector<float> run(size_t n_prompt, size_t n, const PackedMlps* packed = nullptr, bool as_alone = false) {
    const auto sequence = cache_.create();
    forward_.observer = nullptr;
    SequenceRun prompt{sequence, n_prompt};
    const bool every = forward_.predict_every_token;
    forward_.predict_every_token = false;
    forward_.run({std::span(ids_).first(n_prompt), {&prompt, 1}, {}, {}});
    forward_.predict_every_token = every;
    forward_.observer = as_alone ? nullptr : &seen_;
    const SequenceRun r{sequence, n, {}, packed};
    std::vector<uint32_t> rows(n);
    for (uint32_t i = 0; i < n; ++i) rows[i] = i;
    forward_.stats = {};
    const MatView<const float> logits =
        forward_.run({std::span(ids_).subspan(n_prompt, n), {&r, 1}, rows, {}, as_alone});
    std::vector<float> out(logits.data, logits.data + logits.rows * logits.cols);
    cache_.release(sequence);
    return out;
  }

  void set(SmoothLayerPlan plan) {
    for (LayerPlan& l : plan_.layers) l.smooth = plan;
  }
  PackedMlps pack(size_t every) {
    std::vector<uint32_t> ids;
    for (uint32_t k = 0; k < weights(0).mlp.n_ff; k += uint32_t(every)) ids.push_back(k);
    std::vector<Rows> kept(model_.config().n_layer, Rows::of(ids, weights(0).mlp.n_ff));
    PackedMlps packed;
    packed.pack(model_.weights(), kept, compute_);
    return packed;
  }

  Compute compute_{2};
  Model model_{open_model(fixture(GetParam())).file, {}, compute_};
  KvCache cache_{Forward::kv_shape(model_.config(), DType::kF32, 8), 512};
  Forward forward_{model_, cache_, compute_};
  std::vector<int32_t> ids_ = std::vector<int32_t>(40);
  SparsePlan plan_;
  Seen seen_;
};

// Few tokens with copies by input, few without, and many.
TEST_P(ForwardSmoothTest, CatsComputesTheNeuronsWithALargeGate) {
  const ColumnWeights columns = ColumnWeights::make(model_.weights(), ColumnParts::kDown, compute_);
  const MlpWeights& m = weights(1).mlp;
  for (float threshold : {0.02f, 0.2f})
    for (int way = 0; way < 3; ++way) {
      SmoothLayerPlan plan;
      plan.method = SmoothMethod::kCats;
      plan.threshold = threshold;
      set(plan);
      forward_.columns = way == 0 ? &columns : nullptr;
      forward_.predict_every_token = way == 2;
      run(20, way == 2 ? 9 : 2);
      Rows want;
      uint64_t n_kept = 0;
      for (const auto& x : seen_.mlp_in) {
        std::vector<double> a = product(m.gate.W ? m.gate.W : m.up.W, m.gate.W ? m.gate.bias : m.up.bias, x);
        for (double& v : a) v = act(v);
        a = above(a, threshold);
        for (double v : a) n_kept += v != 0;
        if (m.gate.W) {
          const std::vector<double> up = product(m.up.W, m.up.bias, x);
          for (size_t k = 0; k < a.size(); ++k) a[k] *= up[k];
        }
        want.push_back(down(m, a));
      }
      expect_near(seen_.mlp_out, want, "CATS");
      EXPECT_EQ(forward_.stats.active_neurons[1], n_kept);
      EXPECT_GT(n_kept, 0u);
      EXPECT_LT(n_kept, m.n_ff * seen_.mlp_in.size());
    }
}

TEST_P(ForwardSmoothTest, TealLeavesSmallInputsOutOfEveryProduct) {
  const ColumnWeights columns = ColumnWeights::make(model_.weights(), ColumnParts::kAll, compute_);
  const LayerWeights& w = weights(1);
  SmoothLayerPlan plan;
  plan.method = SmoothMethod::kTeal;
  plan.inputs = {0.4f, 0.03f, 0.5f, is_relu_family(model_.config().activation) ? 0.5f : 0.02f};
  set(plan);
  for (int way = 0; way < 3; ++way) {
    forward_.columns = way == 0 ? &columns : nullptr;
    forward_.predict_every_token = way == 2;
    run(20, way == 2 ? 9 : 2);
    Rows v, attn, mlp;
    for (size_t t = 0; t < seen_.attn_in.size(); ++t) {
      const std::vector<double> x = above(seen_.attn_in[t], plan.inputs[0]);
      EXPECT_NE(x, seen_.attn_in[t]);
      v.push_back(product(w.v.W, w.v.bias, x));
      attn.push_back(product(w.o.W, w.o.bias, above(seen_.heads[t], plan.inputs[1])));
      const std::vector<double> in = above(seen_.mlp_in[t], plan.inputs[2]);
      std::vector<double> a = product(w.mlp.up.W, w.mlp.up.bias, in);
      if (w.mlp.gate.W) {
        const std::vector<double> gate = product(w.mlp.gate.W, w.mlp.gate.bias, in);
        for (size_t k = 0; k < a.size(); ++k) a[k] *= act(gate[k]);
      } else {
        for (double& z : a) z = act(z);
      }
      const std::vector<double> large = above(a, plan.inputs[3]);
      EXPECT_NE(large, a);
      mlp.push_back(down(w.mlp, large));
    }
    expect_near(seen_.v, v, "values");
    expect_near(seen_.attn_out, attn, "attention");
    expect_near(seen_.mlp_out, mlp, "MLP");
  }
}

TEST_P(ForwardSmoothTest, GriffinComputesThePackedNeurons) {
  const PackedMlps packed = pack(3);
  SmoothLayerPlan plan;
  plan.method = SmoothMethod::kGriffin;
  plan.density = 1.0f / 3;
  set(plan);
  const MlpWeights& m = weights(1).mlp;
  for (size_t n : {1, 3, 9}) {
    run(20, n, &packed);
    Rows want;
    for (const auto& x : seen_.mlp_in) {
      std::vector<double> a = product(m.up.W, m.up.bias, x);
      const std::vector<double> gate = m.gate.W ? product(m.gate.W, m.gate.bias, x) : a;
      for (size_t k = 0; k < a.size(); ++k) a[k] = k % 3 ? 0 : m.gate.W ? a[k] * act(gate[k]) : act(a[k]);
      want.push_back(down(m, a));
    }
    expect_near(seen_.mlp_out, want, "GRIFFIN");
    EXPECT_EQ(forward_.stats.active_neurons[1], n * packed[1].neurons.size());
  }
}

TEST_P(ForwardSmoothTest, ReadsFewerBytesThanDense) {
  const ColumnWeights columns = ColumnWeights::make(model_.weights(), ColumnParts::kAll, compute_);
  const PackedMlps packed = pack(2);
  forward_.columns = &columns;
  set({});
  run(20, 1);
  const uint64_t dense = forward_.stats.weight_bytes;
  SmoothLayerPlan plan;
  plan.threshold = 0.05f;
  plan.inputs = {0.4f, 0.02f, 0.4f, 0.05f};
  for (SmoothMethod method : {SmoothMethod::kCats, SmoothMethod::kGriffin, SmoothMethod::kTeal}) {
    plan.method = method;
    set(plan);
    run(20, 1, &packed);
    EXPECT_LT(forward_.stats.weight_bytes, dense) << name_of(method);
    EXPECT_GT(forward_.stats.weight_bytes, dense / 4) << name_of(method);
  }
}

// Thresholds that leave nothing out: dense, but for the order of the sums.
TEST_P(ForwardSmoothTest, KeepingEverythingIsDense) {
  const ColumnWeights columns = ColumnWeights::make(model_.weights(), ColumnParts::kAll, compute_);
  forward_.columns = &columns;
  set({});
  const std::vector<float> dense = run(20, 2);
  float scale = 0;
  for (float v : dense) scale = std::max(scale, std::abs(v));
  const PackedMlps packed = pack(1);
  SmoothLayerPlan plan;
  plan.inputs = {0, 0, 0, 0};  // zeros add nothing
  for (SmoothMethod method : {SmoothMethod::kCats, SmoothMethod::kGriffin, SmoothMethod::kTeal}) {
    plan.method = method;
    set(plan);
    const std::vector<float> got = run(20, 2, &packed);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], dense[i], 2e-5 * scale) << name_of(method);
  }
}

TEST_P(ForwardSmoothTest, APassAsAloneHasTheBitsOfPassesOfOneToken) {
  const ColumnWeights columns = ColumnWeights::make(model_.weights(), ColumnParts::kAll, compute_);
  const PackedMlps packed = pack(2);
  forward_.columns = &columns;
  SmoothLayerPlan plan;
  plan.threshold = 0.05f;
  plan.inputs = {0.4f, 0.02f, 0.4f, 0.05f};
  for (SmoothMethod method : {SmoothMethod::kCats, SmoothMethod::kGriffin, SmoothMethod::kTeal}) {
    plan.method = method;
    set(plan);
    const std::vector<float> together = run(20, 7, &packed, true);
    const auto sequence = cache_.create();
    const SequenceRun prompt{sequence, 20}, one{sequence, 1, {}, &packed};
    const uint32_t row = 0;
    forward_.run({std::span(ids_).first(20), {&prompt, 1}, {}, {}});
    std::vector<float> single;
    for (size_t i = 0; i < 7; ++i) {
      const MatView<const float> l = forward_.run({std::span(ids_).subspan(20 + i, 1), {&one, 1}, {&row, 1}, {}});
      single.insert(single.end(), l.data, l.data + l.cols);
    }
    cache_.release(sequence);
    EXPECT_EQ(together, single) << name_of(method);
  }
}

TEST_P(ForwardSmoothTest, ABlockAtATimeIsTheWholeModel) {
  set({});
  struct Streams : ForwardObserver {
    std::vector<Rows> at;
    void on_residual(size_t, MatView<const float> x) override { at.push_back(copy(x)); }
  } streams;
  forward_.mode = Mode::kDense;
  forward_.observer = &streams;
  const auto sequence = cache_.create();
  const SequenceRun r{sequence, 20};
  const ForwardInput input{std::span(ids_).first(20), {&r, 1}, {}, {}};
  forward_.run(input);
  forward_.observer = nullptr;
  cache_.truncate(sequence, 0);
  Rows stream = copy(forward_.run_blocks(input, 0, 0, {}));
  for (size_t l = 0; l < model_.config().n_layer; ++l) {
    cache_.truncate(sequence, 0);
    EXPECT_EQ(stream, streams.at[l]);
    std::vector<float> values;
    for (const auto& row : stream) values.insert(values.end(), row.begin(), row.end());
    stream = copy(forward_.run_blocks(input, l, l + 1, {values.data(), 20, model_.config().n_embd}));
  }
  EXPECT_EQ(stream, streams.at.back());
}

INSTANTIATE_TEST_SUITE_P(Models, ForwardSmoothTest, ::testing::Values("llama_mha", "bloom_h6", "opt_sparse"));

}  // namespace
}  // namespace hunch
