// Neurons that are chosen for each expert of a mixture: what a prompt and what predictors say, in whole passes.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "model/open_model.h"
#include "model/test_settings.h"
#include "model/test_steps.h"
#include "select/expert_predictors.h"
#include "select/hot_set.h"
#include "select/selectors.h"

namespace hunch {
namespace {

using Place = std::pair<size_t, uint32_t>;  // layer, expert
using Floats = std::vector<float>;

// What each MLP computed.
struct Watch : Observer {
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> act) override {
    for (size_t t = 0; t < act.rows; ++t)
      acts[{place.layer, place.expert}].emplace_back(act.row(t).begin(), act.row(t).end());
  }
  std::map<Place, std::vector<Floats>> acts;
};

class ExpertPlans : public ::testing::Test {
 protected:
  static constexpr size_t kPrompt = 30, kDecoded = 6;

  ExpertPlans() {
    for (size_t i = 0; i < ids_.size(); ++i) ids_[i] = int32_t((i * 37 + 11) % c_.n_vocab);
  }

  // The prompt, `cut` tokens of it taken back, and kDecoded tokens one by one; what the prompt and they computed.
  std::vector<float> run(const std::shared_ptr<const Plan>& plan, size_t cut = 0) {
    const auto sequence = cache_.create();
    SelectorStates states;
    hunch::Run r{sequence, kPrompt, Phase::kPrompt, plan.get()};
    r.states = &states;
    r.watching = {&plan, 1};
    prompt_ = {}, decoded_ = {};
    transformer_.observer = &prompt_;
    transformer_.run({std::span(ids_).first(kPrompt), {&r, 1}, {}});
    if (cut) cache_.truncate(sequence, kPrompt - cut), states.truncate(kPrompt - cut);
    transformer_.observer = &decoded_;
    r.phase = Phase::kDecode, r.n_tokens = 1;
    std::vector<float> logits;
    const std::vector<uint32_t> rows = {0};
    for (size_t i = 0; i < kDecoded; ++i)
      append_rows(transformer_.run({std::span(ids_).subspan(kPrompt - cut + i, 1), {&r, 1}, rows}), logits);
    cache_.release(sequence);
    return logits;
  }
  std::shared_ptr<const Plan> dense() const { return std::make_shared<const Plan>(); }

  Compute compute_{2};
  Model model_{open_model(golden_fixture("qwen2_moe")).file, {}, compute_};
  const ModelConfig& c_ = model_.config();
  KvCache cache_{Transformer::kv_shape(c_, DType::kF32, 8), 512};
  Transformer transformer_{model_, cache_, compute_};
  std::vector<int32_t> ids_ = std::vector<int32_t>(kPrompt + kDecoded);
  Watch prompt_, decoded_;
};

// GRIFFIN: the neurons with the largest statistic over the tokens that came to the expert; all of an expert that saw
// fewer than 16 of them.
TEST_F(ExpertPlans, APromptChoosesForEachExpert) {
  constexpr double kDensity = 0.3;
  auto plan = std::make_shared<Plan>(Plan::exact(c_));
  for (size_t l = 0; l < c_.n_layer; ++l) Setting{.kind = "griffin", .density = float(kDensity)}.set(*plan, l);
  run(plan);
  size_t n_restricted = 0, n_whole = 0;
  for (const auto& [place, tokens] : decoded_.acts) {
    const std::vector<Floats>& seen = prompt_.acts[place];
    const size_t n_ff = tokens[0].size();
    std::vector<double> squares(n_ff);
    for (const Floats& z : seen) {
      const double norm = std::inner_product(z.begin(), z.end(), z.begin(), 0.0);
      for (size_t k = 0; k < n_ff; ++k) squares[k] += z[k] * z[k] / norm;
    }
    std::vector<size_t> order(n_ff);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return squares[a] > squares[b]; });
    const size_t n_kept = seen.size() < 16 ? n_ff : size_t(std::ceil(kDensity * double(n_ff)));
    (n_kept < n_ff ? n_restricted : n_whole) += 1;
    for (const Floats& act : tokens)
      for (size_t i = 0; i < n_ff; ++i) EXPECT_EQ(act[order[i]] != 0, i < n_kept) << place.second << ", " << order[i];
  }
  EXPECT_GT(n_restricted, 2u);
  EXPECT_GT(n_whole, 0u) << "no expert was seldom";
}

// A cut into the prompt forgets what it said, of every expert.
TEST_F(ExpertPlans, ACutForgetsWhatThePromptChose) {
  auto plan = std::make_shared<Plan>(Plan::exact(c_));
  for (size_t l = 0; l < c_.n_layer; ++l) Setting{.kind = "griffin", .density = 0.3f}.set(*plan, l);
  const std::vector<float> whole = run(dense()), griffin = run(plan), cut = run(plan, 1), cut_dense = run(dense(), 1);
  EXPECT_GT(worst_difference(griffin, whole), 1e-3f);
  EXPECT_LE(worst_difference(cut, cut_dense), 3e-5f);
}

// Each expert has neurons of its own that count; one has no predictor, and all of its count, as of the shared one.
TEST_F(ExpertPlans, PredictorsChooseForEachExpert) {
  auto plan = std::make_shared<Plan>(Plan::exact(c_));
  const size_t n_expert = c_.moe.n_expert, n_ff = c_.moe.n_ff;
  const auto counts = [&](size_t layer, uint32_t expert, size_t k) { return (k + layer) % n_expert == expert; };
  for (size_t l = 0; l < c_.n_layer; ++l) {
    std::vector<std::shared_ptr<const Predictor>> experts(n_expert);
    for (uint32_t e = 1; e < n_expert; ++e) {
      Floats scores(n_ff);
      for (size_t k = 0; k < n_ff; ++k) scores[k] = counts(l, e, k) ? 1.0f : 0.0f;
      experts[e] = std::make_shared<const HotSetPredictor>(scores, c_.n_embd);
    }
    const auto all = std::make_shared<const ExpertPredictors>(std::move(experts));
    plan->set(l, Point::kNeurons, {std::make_shared<const Predicted>(*all, 0.5f), Look::kHere});
    plan->owners.push_back(all);
  }
  run(plan);
  size_t n_seen = 0;
  for (const auto& [place, tokens] : decoded_.acts)
    for (const Floats& act : tokens)
      for (size_t k = 0; k < act.size(); ++k, ++n_seen)
        EXPECT_EQ(act[k] != 0,
                  place.second == 0 || place.second == LinearId::kShared || counts(place.first, place.second, k))
            << "layer " << place.first << ", expert " << place.second << ", neuron " << k;
  EXPECT_GT(n_seen, 1000u);
}

}  // namespace
}  // namespace hunch
