// CATS, GRIFFIN and TEAL against their definitions, written as loops over decoded weights.
#include "model/test_settings.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <numeric>
#include <random>

#include "formats/format.h"
#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/prompt_selector.h"
#include "select/selectors.h"

namespace hunch {
namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix copy(MatView<const float> X) {
  Matrix out;
  for (size_t t = 0; t < X.rows; ++t) out.emplace_back(X.row(t).begin(), X.row(t).end());
  return out;
}

// W x + bias on decoded weights.
std::vector<double> product(const Linear& linear, const std::vector<double>& x) {
  std::vector<double> y(linear.n_out);
  if (!linear.bias().empty()) std::ranges::copy(linear.bias(), y.begin());
  const bool by_rows = bool(linear.rows());
  const WeightView W = by_rows ? linear.rows() : linear.by_input();
  std::vector<float> row(W.cols);
  for (size_t r = 0; r < W.rows; ++r) {
    codec(W.dtype).decode(W.row(r), row.data(), row.size());
    for (size_t c = 0; c < W.cols; ++c)
      if (by_rows) {
        y[r] += double(row[c]) * x[c];
      } else {
        y[c] += double(row[c]) * x[r];
      }
  }
  return y;
}

std::vector<double> above(std::vector<double> x, double threshold) {
  for (double& v : x)
    if (std::abs(v) <= threshold) v = 0;
  return x;
}

struct Seen : Observer {
  size_t layer = 1;
  Matrix attn_in, v, heads, attn_out, mlp_in, mlp_act, mlp_out;
  void on_attention_input(size_t l, MatView<const float> x) override {
    if (l == layer) attn_in = copy(x);
  }
  void on_attention(size_t l, MatView<const float>, MatView<const float>, MatView<const float> x) override {
    if (l == layer) v = copy(x);
  }
  void on_heads(size_t l, MatView<const float> x) override {
    if (l == layer) heads = copy(x);
  }
  void on_mlp(const MlpPlace& place, MatView<const float> in, MatView<const float> act) override {
    if (place.layer == layer) mlp_in = copy(in), mlp_act = copy(act);
  }
  void on_branch(size_t l, Branch branch, MatView<const float>, MatView<const float> out) override {
    if (l == layer) (branch == Branch::kMlp ? mlp_out : attn_out) = copy(out);
  }
};

void expect_near(const Matrix& got, const Matrix& want, const char* what) {
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
class FamilyTest : public ::testing::TestWithParam<const char*> {
 protected:
  static constexpr size_t kPrompt = 20;

  FamilyTest() {
    std::mt19937 rng(5);
    for (int32_t& id : ids_) id = int32_t(rng() % c_.n_vocab);
  }
  ~FamilyTest() override {
    if (packed_name_) model_.layouts().unpack(packed_name_);
  }

  const Layer& layer(size_t l) const { return model_.weights().layers[l]; }
  double act(double x) const { return ref::activation(c_.activation, float(x)); }
  void set(const Setting& point) {
    auto plan = std::make_shared<Plan>(Plan::exact(c_));
    for (size_t l = 0; l < c_.n_layer; ++l) point.set(*plan, l);
    plan_ = plan;
  }

  // Copies together what the prompt of `states` settled, as a session does.
  void pack(SelectorStates& states) {
    std::vector<Layouts::PackRequest> requests;
    std::vector<Rows*> settled;
    for (size_t l = 0; l < c_.n_layer; ++l) {
      const Selector* selector = plan_->at(l, Point::kNeurons).selector.get();
      SelectorState* state = selector ? states.of(*selector) : nullptr;
      Rows* rows = state ? selector->settled(state, c_.n_ff) : nullptr;
      if (!rows || rows->is_all()) continue;
      settled.push_back(rows);
      request(l, rows, requests);
    }
    model_.layouts().pack(compute_, packed_name_ = model_.layouts().new_name(), requests);
    for (Rows* rows : settled) rows->set_name(packed_name_);
  }
  void request(size_t l, const Rows* rows, std::vector<Layouts::PackRequest>& requests) const {
    const Mlp& m = layer(l).mlp;
    for (const auto* first : {&m.gate, &m.up})
      if (*first) requests.push_back({first->get(), Axis::kOut, rows});
    requests.push_back({m.down.get(), Axis::kIn, rows});
  }

  struct Tokens {
    size_t n = 1, n_together = 1;
    bool as_alone = false, packs = false;
  };
  // The last n of kPrompt + n tokens, in passes of n_together; logits.
  std::vector<float> run(const Tokens& tokens) {
    const auto sequence = cache_.create();
    SelectorStates states;
    hunch::Run r{sequence, kPrompt, Phase::kPrompt, plan_.get()};
    r.states = &states;
    r.watching = {&plan_, 1};
    transformer_.observer = &prompt_;
    transformer_.run({std::span(ids_).first(kPrompt), {&r, 1}, {}});
    if (tokens.packs) pack(states);
    transformer_.observer = tokens.as_alone ? nullptr : &seen_;
    transformer_.stats = {};
    r.phase = tokens.as_alone ? Phase::kVerify : Phase::kDecode;
    r.as_alone = tokens.as_alone;
    std::vector<float> out;
    for (size_t i = 0; i < tokens.n; i += r.n_tokens) {
      r.n_tokens = std::min(tokens.n_together, tokens.n - i);
      const std::vector<uint32_t> rows = rows_up_to(r.n_tokens);
      append_rows(transformer_.run({std::span(ids_).subspan(kPrompt + i, r.n_tokens), {&r, 1}, rows}), out);
    }
    cache_.release(sequence);
    return out;
  }

  // The MLP of neurons [n_ff] that are kept.
  Matrix mlp_of(const Mlp& m, const std::vector<bool>& kept) const {
    Matrix out;
    for (const auto& x : seen_.mlp_in) {
      std::vector<double> a = product(*m.up, x);
      const std::vector<double> gate = m.gate ? product(*m.gate, x) : a;
      for (size_t k = 0; k < a.size(); ++k) a[k] = !kept[k] ? 0 : m.gate ? a[k] * act(gate[k]) : act(a[k]);
      out.push_back(product(*m.down, a));
    }
    return out;
  }

  Compute compute_{2};
  Model model_{open_model(golden_fixture(GetParam())).file, {}, compute_};
  const ModelConfig& c_ = model_.config();
  KvCache cache_{Transformer::kv_shape(c_, DType::kF32, 8), 512};
  Transformer transformer_{model_, cache_, compute_};
  std::vector<int32_t> ids_ = std::vector<int32_t>(40);
  std::shared_ptr<const Plan> plan_;
  uint64_t packed_name_ = 0;
  Seen prompt_, seen_;
};

// Few tokens and many, without copies by input and with them.
TEST_P(FamilyTest, CatsComputesTheNeuronsWithALargeGate) {
  const Mlp& m = layer(1).mlp;
  for (const bool copies : {false, true}) {
    if (copies) store_down_by_input(model_, compute_);
    for (const float threshold : {0.02f, 0.2f})
      for (const size_t n : {2, 9}) {
        set({.kind = "cats", .threshold = threshold});
        run({.n = n, .n_together = n});
        Matrix want;
        uint64_t n_kept = 0;
        for (const auto& x : seen_.mlp_in) {
          std::vector<double> a = product(m.gate ? *m.gate : *m.up, x);
          for (double& v : a) v = act(v);
          a = above(a, threshold);
          for (double v : a) n_kept += v != 0;
          if (m.gate) {
            const std::vector<double> up = product(*m.up, x);
            for (size_t k = 0; k < a.size(); ++k) a[k] *= up[k];
          }
          want.push_back(product(*m.down, a));
        }
        ASSERT_EQ(want.size(), n);
        expect_near(seen_.mlp_out, want, "CATS");
        EXPECT_EQ(transformer_.stats.active_neurons[1], n_kept);
        EXPECT_GT(n_kept, 0u);
        EXPECT_LT(n_kept, m.n_ff * n);
      }
  }
}

TEST_P(FamilyTest, TealLeavesSmallInputsOutOfEveryProduct) {
  const Layer& w = layer(1);
  const float large = is_relu_family(c_.activation) ? 0.5f : 0.02f;
  const Setting point{.kind = "teal", .inputs = {0.4f, 0.03f, 0.5f, large}};
  set(point);
  for (const bool copies : {false, true}) {
    if (copies) store_all_by_input(model_, compute_);
    for (const size_t n : {2, 9}) {
      run({.n = n, .n_together = n});
      Matrix v, attn, mlp;
      uint64_t n_weights = 0;
      for (size_t t = 0; t < seen_.attn_in.size(); ++t) {
        const std::vector<double> x = above(seen_.attn_in[t], point.inputs[0]);
        EXPECT_NE(x, seen_.attn_in[t]);
        v.push_back(product(*w.attention.v, x));
        attn.push_back(product(*w.attention.o, above(seen_.heads[t], point.inputs[1])));
        const std::vector<double> in = above(seen_.mlp_in[t], point.inputs[2]);
        std::vector<double> a = product(*w.mlp.up, in);
        if (w.mlp.gate) {
          const std::vector<double> gate = product(*w.mlp.gate, in);
          for (size_t k = 0; k < a.size(); ++k) a[k] *= act(gate[k]);
        } else {
          for (double& z : a) z = act(z);
        }
        const std::vector<double> read = above(a, point.inputs[3]);
        EXPECT_NE(read, a);
        mlp.push_back(product(*w.mlp.down, read));
        const auto n_not_zero = [](const std::vector<double>& values) {
          return uint64_t(values.size()) - uint64_t(std::ranges::count(values, 0.0));
        };
        n_weights += n_not_zero(in) * w.mlp.n_ff * (w.mlp.gate ? 2 : 1) + n_not_zero(read) * c_.n_embd;
      }
      ASSERT_EQ(mlp.size(), n);
      expect_near(seen_.v, v, "values");
      expect_near(seen_.attn_out, attn, "attention");
      expect_near(seen_.mlp_out, mlp, "MLP");
      EXPECT_EQ(transformer_.stats.active_neurons[1], n_weights);
    }
  }
}

// As they are stored, and copied together.
TEST_P(FamilyTest, GriffinComputesTheNeuronsThatThePromptUsedMost) {
  const Mlp& m = layer(1).mlp;
  const float density = 0.4f;
  set({.kind = "griffin", .density = density});
  for (const bool packs : {false, true})
    for (const size_t n : {1, 3, 9}) {
      run({.n = n, .n_together = n, .packs = packs});
      // Dong et al. 2024, section 4: the norm over the prompt's tokens of activations of norm 1.
      ASSERT_EQ(prompt_.mlp_act.size(), kPrompt);
      std::vector<double> use(m.n_ff);
      for (const auto& a : prompt_.mlp_act) {
        const double norm = std::inner_product(a.begin(), a.end(), a.begin(), 0.0);
        for (size_t k = 0; k < m.n_ff && norm > 0; ++k) use[k] += a[k] * a[k] / norm;
      }
      std::vector<size_t> order(m.n_ff);
      std::iota(order.begin(), order.end(), size_t{0});
      std::ranges::stable_sort(order, std::greater<>(), [&](size_t k) { return use[k]; });
      const size_t n_most = n_kept(density, m.n_ff);
      std::vector<bool> kept(m.n_ff);
      for (size_t i = 0; i < n_most; ++i) kept[order[i]] = true;
      expect_near(seen_.mlp_out, mlp_of(m, kept), "GRIFFIN");
      EXPECT_EQ(transformer_.stats.active_neurons[1], n * n_most);
      EXPECT_EQ(model_.layouts().packed_bytes() > 0, packs);
    }
}

// Whoever chose them.
TEST_P(FamilyTest, RowsOfANameAreReadFromTheirCopy) {
  std::vector<uint32_t> ids;
  for (uint32_t k = 0; k < c_.n_ff; k += 3) ids.push_back(k);
  Rows rows = Rows::of(ids, c_.n_ff);
  std::vector<Layouts::PackRequest> requests;
  for (size_t l = 0; l < c_.n_layer; ++l) request(l, &rows, requests);
  model_.layouts().pack(compute_, packed_name_ = model_.layouts().new_name(), requests);
  rows.set_name(packed_name_);
  const std::vector<Rows> own(9, rows);
  auto plan = std::make_shared<Plan>();
  for (size_t l = 0; l < c_.n_layer; ++l) plan->set(l, Point::kNeurons, {std::make_shared<const Given>(own)});
  plan_ = plan;
  std::vector<bool> kept(c_.n_ff);
  for (const uint32_t k : ids) kept[k] = true;
  for (const size_t n : {1, 3, 9}) {
    run({.n = n, .n_together = n});
    expect_near(seen_.mlp_out, mlp_of(layer(1).mlp, kept), "packed rows");
    EXPECT_EQ(transformer_.stats.active_neurons[1], n * ids.size());
  }
}

// What a prompt taught is of its sequence only; one that saw no prompt, or too short a one, is dense.
TEST_P(FamilyTest, GriffinWithoutAPromptIsDenseAlsoBesideOthers) {
  set({.kind = "griffin", .density = 0.5f});
  const auto decode = [&](const std::vector<size_t>& prompts, const Plan* plan) {
    std::vector<hunch::Run> runs;
    std::deque<SelectorStates> states;
    std::vector<int32_t> ids;
    for (const size_t n : prompts) {
      hunch::Run r{cache_.create(), n, Phase::kPrompt, plan};
      r.states = &states.emplace_back();
      r.watching = {&plan_, 1};
      if (n) transformer_.run({std::span(ids_).first(n), {&r, 1}, {}});
      r.phase = Phase::kDecode;
      r.n_tokens = 1;
      runs.push_back(r);
      ids.push_back(ids_[n]);
    }
    std::vector<float> logits;
    const std::vector<uint32_t> rows = rows_up_to(runs.size());
    append_rows(transformer_.run({ids, runs, rows}), logits);
    for (const hunch::Run& r : runs) cache_.release(r.sequence);
    return logits;
  };
  const auto of = [&](const std::vector<float>& logits, size_t i) {
    return std::span(logits).subspan(i * c_.n_vocab, c_.n_vocab);
  };
  for (const std::vector<size_t>& prompts :
       {std::vector<size_t>{20, 0}, std::vector<size_t>{0, 20}, std::vector<size_t>{5, 20, 0}}) {
    const std::vector<float> together = decode(prompts, plan_.get());
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::vector<float> alone = decode({prompts[i]}, plan_.get()), dense = decode({prompts[i]}, nullptr);
      EXPECT_LE(worst_difference(of(together, i), alone), 3e-5f) << "a prompt of " << prompts[i];
      if (prompts[i] < PromptSelector::kMinTokens) {
        EXPECT_LE(worst_difference(alone, dense), 3e-5f) << "a prompt of " << prompts[i];
      } else {
        EXPECT_GT(worst_difference(alone, dense), 1e-4f);
      }
    }
  }
}

Setting sparse_point(const char* method) {
  return {.kind = method, .threshold = 0.05f, .density = 0.5f, .inputs = {0.4f, 0.02f, 0.4f, 0.05f}};
}

TEST_P(FamilyTest, ReadsFewerBytesThanDense) {
  store_all_by_input(model_, compute_);
  plan_ = std::make_shared<Plan>();
  run({});
  const uint64_t dense = transformer_.stats.weight_bytes;
  for (const char* method : {"cats", "griffin", "teal"})
    for (const bool packs : {false, true}) {
      set(sparse_point(method));
      run({.packs = packs});
      EXPECT_LT(transformer_.stats.weight_bytes, dense) << method;
      EXPECT_GT(transformer_.stats.weight_bytes, dense / 4) << method;
    }
}

// Thresholds that leave nothing out: dense, but for the order of the sums.
TEST_P(FamilyTest, KeepingEverythingIsDense) {
  store_all_by_input(model_, compute_);
  plan_ = std::make_shared<Plan>();
  const std::vector<float> dense = run({.n = 2, .n_together = 2});
  float scale = 0;
  for (float v : dense) scale = std::max(scale, std::abs(v));
  for (const char* method : {"cats", "griffin", "teal"}) {
    set({.kind = method, .inputs = {0, 0, 0, 0}});  // zeros add nothing
    const std::vector<float> got = run({.n = 2, .n_together = 2});
    EXPECT_LE(worst_difference(got, dense), 2e-5f * scale) << method;
  }
}

TEST_P(FamilyTest, APassAsAloneHasTheBitsOfPassesOfOneToken) {
  for (const bool copies : {false, true}) {
    if (copies) store_all_by_input(model_, compute_);
    for (const char* method : {"cats", "griffin", "teal"})
      for (const bool packs : {false, true}) {
        set(sparse_point(method));
        EXPECT_EQ(run({.n = 7, .n_together = 7, .as_alone = true, .packs = packs}), run({.n = 7, .packs = packs}))
            << method << (packs ? ", packed" : "");
      }
  }
}

TEST_P(FamilyTest, ABlockAtATimeIsTheWholeModel) {
  struct Streams : Observer {
    std::vector<Matrix> at;
    void on_residual(size_t, MatView<const float> x) override { at.push_back(copy(x)); }
  } streams;
  transformer_.observer = &streams;
  const auto sequence = cache_.create();
  const hunch::Run r{sequence, 20};
  const StepInput input{std::span(ids_).first(20), {&r, 1}, {}};
  transformer_.run(input);
  transformer_.observer = nullptr;
  cache_.truncate(sequence, 0);
  Matrix stream = copy(transformer_.run_blocks(input, 0, 0, {}));
  for (size_t l = 0; l < c_.n_layer; ++l) {
    cache_.truncate(sequence, 0);
    EXPECT_EQ(stream, streams.at[l]);
    std::vector<float> values;
    for (const auto& row : stream) values.insert(values.end(), row.begin(), row.end());
    stream = copy(transformer_.run_blocks(input, l, l + 1, {values.data(), 20, c_.n_embd}));
  }
  EXPECT_EQ(stream, streams.at.back());
}

INSTANTIATE_TEST_SUITE_P(Models, FamilyTest, ::testing::Values("llama_mha", "bloom_h6", "opt_sparse"));

}  // namespace
}  // namespace hunch
