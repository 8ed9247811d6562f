// Losses, gradients and steps of torch on golden models, where ../shared has them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "io/golden_arrays.h"
#include "train/mezo.h"
#include "train/optimizer.h"
#include "train/test_networks.h"

namespace hunch {
namespace {

struct Case {
  const char *model, *arrays;
};

class TrainGolden : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto folder = shared_path("golden/algos2"), models = shared_path("golden/models");
    if (!folder || !models) GTEST_SKIP() << "no ../shared/golden";
    golden_ = std::make_unique<GoldenArrays>(*folder / GetParam().arrays);
    json_ = nlohmann::json::parse(read_file((*folder / GetParam().arrays).string() + ".json"));
    m_ = std::make_unique<TestModel>(*models / GetParam().model);
    network_ = std::make_unique<Network>(m_->model, m_->compute);
    network_->train_all();
    network_->parameters.allocate_gradients(GradientMemory::kAll);
    const auto ids = golden_->get<int32_t>("ids"), labels = golden_->get<int32_t>("labels");
    const size_t n = ids.shape[1];
    batch_ = {{ids.shape[0], n}, ids.values, {}};
    for (size_t s = 0; s < ids.shape[0]; ++s)
      for (size_t t = 0; t < n; ++t) {
        const int32_t next = t + 1 < n ? labels.row(s)[t + 1] : -100;
        batch_.targets.push_back(next == -100 ? TokenBatch::kNoTarget : next);
      }
  }

  // GGUF's name of a parameter of the checkpoint.
  static std::string name_here(const std::string& theirs) {
    static const std::map<std::string, std::string> kWhole = {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"model.norm.weight", "output_norm.weight"},
        {"lm_head.weight", "output.weight"},
        {"model.decoder.embed_tokens.weight", "token_embd.weight"},
        {"model.decoder.embed_positions.weight", "position_embd.weight"},
        {"model.decoder.final_layer_norm.weight", "output_norm.weight"},
        {"model.decoder.final_layer_norm.bias", "output_norm.bias"}};
    if (const auto found = kWhole.find(theirs); found != kWhole.end()) return found->second;
    static const std::map<std::string, std::string> kParts = {{"self_attn.q_proj", "attn_q"},
                                                              {"self_attn.k_proj", "attn_k"},
                                                              {"self_attn.v_proj", "attn_v"},
                                                              {"self_attn.o_proj", "attn_output"},
                                                              {"self_attn.out_proj", "attn_output"},
                                                              {"mlp.gate_proj", "ffn_gate"},
                                                              {"mlp.up_proj", "ffn_up"},
                                                              {"mlp.down_proj", "ffn_down"},
                                                              {"fc1", "ffn_up"},
                                                              {"fc2", "ffn_down"},
                                                              {"input_layernorm", "attn_norm"},
                                                              {"post_attention_layernorm", "ffn_norm"},
                                                              {"self_attn_layer_norm", "attn_norm"},
                                                              {"final_layer_norm", "ffn_norm"}};
    std::smatch m;
    EXPECT_TRUE(
        std::regex_match(theirs, m, std::regex("model\\.(?:decoder\\.)?layers\\.(\\d+)\\.(.*)\\.(weight|bias)")))
        << theirs;
    return "blk." + m[1].str() + "." + kParts.at(m[2]) + "." + m[3].str();
  }
  Parameter& parameter(const std::string& theirs) {
    const std::string name = name_here(theirs);
    for (const auto& p : network_->parameters.all)
      if (p->name == name) return *p;
    ADD_FAILURE() << theirs << ": no parameter " << name;
    return *network_->parameters.all[0];
  }
  // Values of the checkpoint's parameter as the model has them: heads of queries and keys interleaved, and positions
  // without the two that OPT leaves out.
  std::vector<float> here(const std::string& theirs, const std::vector<float>& values) {
    const Parameter& p = parameter(theirs);
    const LayerConfig& c = m_->model.config().layers[0];
    if (p.name == "position_embd.weight") return {values.begin() + 2 * ptrdiff_t(p.value.cols), values.end()};
    const bool turned = p.name.ends_with("attn_q.weight") || p.name.ends_with("attn_k.weight");
    if (!turned || !c.rope_interleaved) return values;
    std::vector<float> out(values.size());
    for (size_t r = 0; r < p.value.rows; ++r) {
      const size_t head = r / c.d_head, i = r % c.d_head, from = head * c.d_head + i % 2 * (c.d_head / 2) + i / 2;
      std::copy_n(values.begin() + ptrdiff_t(from * p.value.cols), p.value.cols,
                  out.begin() + ptrdiff_t(r * p.value.cols));
    }
    return out;
  }
  double gradients(const LossOfRows& loss) {
    network_->parameters.zero_gradients();
    return network_->backward(batch_, loss);
  }
  void expect_norms(const std::string& name) {
    const std::vector<float> want = golden_->get<float>(name).values;
    const auto names = json_.at("parameters").get<std::vector<std::string>>();
    ASSERT_EQ(names.size(), want.size());
    for (size_t i = 0; i < names.size(); ++i) {
      const std::span<const float> g = parameter(names[i]).grads();
      EXPECT_NEAR(std::sqrt(double(dot(g, g))), want[i], 2e-5 * double(want[i]) + 1e-7) << name << " " << names[i];
    }
  }
  void expect_values(std::span<const float> got, const std::string& theirs, const std::string& array, float tolerance) {
    const std::vector<float> want = here(theirs, golden_->get<float>(array).values);
    float largest = 0;
    for (const float v : want) largest = std::max(largest, std::abs(v));
    EXPECT_LE(worst_difference(got, want), tolerance * largest + 1e-8f) << array;
  }
  std::vector<std::string> of_prefix(const std::string& prefix) {
    std::vector<std::string> names;
    for (const auto& [name, array] : json_.at("arrays").items())
      if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
    EXPECT_FALSE(names.empty()) << prefix;
    return names;
  }

  std::unique_ptr<GoldenArrays> golden_;
  nlohmann::json json_;
  std::unique_ptr<TestModel> m_;
  std::unique_ptr<Network> network_;
  TokenBatch batch_;
};

TEST_P(TrainGolden, CrossEntropyAndItsGradients) {
  const double loss = gradients(cross_entropy(m_->compute, batch_, 1));
  EXPECT_NEAR(loss, golden_->get<float>("ce.loss").values[0], 2e-5);
  expect_norms("ce.grad_norm");
  for (const std::string& name : of_prefix("ce.grad."))
    expect_values(parameter(name).grads(), name, "ce.grad." + name, 2e-5f);
  EXPECT_NEAR(gradient_norm(m_->compute, network_->parameters), golden_->get<float>("ce.total_norm").values[0], 2e-4);
}

TEST_P(TrainGolden, DivergencesFromATeacher) {
  const auto teacher = golden_->get<float>("teacher_logits");
  const size_t n_vocab = teacher.shape[2];
  const TeacherLogits logits = [&](size_t first, MatView<float> out) {
    std::copy_n(teacher.values.begin() + ptrdiff_t(first * n_vocab), out.rows * n_vocab, out.data);
  };
  const std::pair<const char*, DistillOptions> kLosses[] = {{"kl_fwd_t1", {Divergence::kForward, 1, 1}},
                                                            {"kl_fwd_t2", {Divergence::kForward, 2, 1}},
                                                            {"kl_rev_t1", {Divergence::kReverse, 1, 1}},
                                                            {"kl_rev_t2", {Divergence::kReverse, 2, 1}},
                                                            {"mix", {Divergence::kForward, 2, 0.5f}}};
  for (const auto& [name, options] : kLosses) {
    const double loss = gradients(distillation(m_->compute, batch_, logits, options, 1));
    EXPECT_NEAR(loss, golden_->get<float>(std::string(name) + ".loss").values[0], 2e-5) << name;
    expect_norms(std::string(name) + ".grad_norm");
  }
}

TEST_P(TrainGolden, StepsOfAdamW) {
  const auto& settings = golden_->configs().at("adamw");
  OptimizerOptions options;
  options.beta1 = settings.at("betas")[0];
  options.beta2 = settings.at("betas")[1];
  options.eps = settings.at("eps");
  options.weight_decay = settings.at("weight_decay");
  for (const auto& p : network_->parameters.all) p->decays = true;
  Optimizer optimizer(network_->parameters, options);
  const std::vector<float> losses = golden_->get<float>("adamw.losses").values;
  const auto names = json_.at("parameters").get<std::vector<std::string>>();
  for (const int step : {1, 2}) {
    EXPECT_NEAR(gradients(cross_entropy(m_->compute, batch_, 1)), losses[size_t(step) - 1], 1e-4);
    const double norm = gradient_norm(m_->compute, network_->parameters);
    optimizer.step(m_->compute, settings.at("lr"), clip_factor(norm, settings.at("clip_grad_norm")));
    const std::string prefix = fmt::format("adamw.step{}.", step);
    const std::vector<float> norms = golden_->get<float>(prefix + "param_norm").values;
    for (size_t i = 0; i < names.size(); ++i) {
      if (name_here(names[i]) == "position_embd.weight") continue;  // theirs has two rows more
      const std::span<const float> values = parameter(names[i]).values();
      EXPECT_NEAR(std::sqrt(double(dot(values, values))), norms[i], 2e-5 * double(norms[i])) << prefix << names[i];
    }
    for (const std::string& name : of_prefix(prefix))
      if (name != "param_norm") expect_values(parameter(name).values(), name, prefix + name, 2e-4f);
  }
  EXPECT_NEAR(mean_loss(*network_, batch_), losses[2], 1e-4);
}

TEST_P(TrainGolden, AStepOfMezo) {
  const auto& settings = golden_->configs().at("mezo");
  const float eps = settings.at("eps");
  std::map<std::string, std::vector<float>> directions;  // by our names; the others stay where they are
  for (const std::string& name : of_prefix("mezo.z."))
    directions[name_here(name)] = here(name, golden_->get<float>("mezo.z." + name).values);
  const Direction z = [&](const Parameter& p, size_t first, std::span<float> out) {
    const auto found = directions.find(p.name);
    std::ranges::fill(out, 0.0f);
    if (found != directions.end()) std::copy_n(found->second.begin() + ptrdiff_t(first), out.size(), out.begin());
  };
  for (const auto& p : network_->parameters.all) p->decays &= directions.count(p->name) > 0;
  std::vector<double> losses;
  double mean = 0;
  const double gradient = projected_gradient(
      m_->compute, network_->parameters, z, eps,
      [&] {
        losses.push_back(mean_loss(*network_, batch_));
        return losses.back();
      },
      &mean);
  const std::vector<double> want = golden_->get<double>("mezo.losses").values;
  EXPECT_NEAR(losses.at(0), want[0], 1e-5);
  EXPECT_NEAR(losses.at(1), want[1], 1e-5);
  EXPECT_NEAR(mean, (want[0] + want[1]) / 2, 1e-5);
  EXPECT_NEAR(gradient, golden_->get<double>("mezo.projected_grad").values[0], 5e-3) << "2e-3 of it is torch's in f32";
  step_along(m_->compute, network_->parameters, z, golden_->get<double>("mezo.projected_grad").values[0],
             settings.at("lr"), settings.at("weight_decay"));
  for (const std::string& name : of_prefix("mezo.updated."))
    expect_values(parameter(name).values(), name, "mezo.updated." + name, 2e-6f);
}

// Texts that are longer than the window.
TEST(TrainWindows, LogitsAreThoseOfInference) {
  const auto models = shared_path("golden/models");
  if (!models) GTEST_SKIP() << "no ../shared/golden";
  TestModel m(*models / "mistral");
  const size_t window = m.model.config().layers[0].window;
  ASSERT_GT(window, 0u);
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, {2, 3 * window + 1});
  EXPECT_LE(worst_difference(logits_of(network, batch), inferred_logits(m.model, m.compute, batch)), 2e-5f);
}

INSTANTIATE_TEST_SUITE_P(Models, TrainGolden, ::testing::Values(Case{"llama", "train_llama"}, Case{"opt", "train_opt"}),
                         [](const auto& i) { return i.param.model; });

}  // namespace
}  // namespace hunch
