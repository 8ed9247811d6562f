// Plans x batches x adapters on a device against the same on the processor: what a step leaves out, who shares it and
// what is added to whose matrices.
#include <gtest/gtest.h>

#include <algorithm>

#include "device/test_on_both.h"
#include "linear/adapter.h"

namespace hunch {
namespace {

using MatrixTest = vulkan::GpuTest;

// Changes every matrix of the layers and the output, each token by about as much as they do.
std::shared_ptr<const Adapter> random_adapter(const Model& model, const std::string& name, uint32_t seed) {
  std::mt19937 random(seed);
  const auto matrix = [&](size_t rows, size_t cols, float scale) {
    std::vector<float> values(rows * cols);
    for (float& v : values) v = std::normal_distribution<float>(0, scale)(random);
    return values;
  };
  auto adapter = std::make_shared<Adapter>(name);
  model.weights().for_each_linear([&](const Linear& linear) {
    const size_t rank = 3 + seed % 4;
    const std::vector<float> A = matrix(rank, linear.n_in, 0.2f), B = matrix(rank, linear.n_out, 0.05f);
    adapter->parts.emplace(linear.id, AdapterPart(MatView<const float>(A.data(), rank, linear.n_in),
                                                  MatView<const float>(B.data(), rank, linear.n_out), {}));
  });
  return adapter;
}

// CATS: activations of the gate above a threshold that about half of them exceed.
Plan cats(const ModelConfig& c) {
  Plan plan;
  plan.name = "cats";
  for (size_t l = 0; l < c.n_layer; ++l) plan.set(l, Point::kLive, {std::make_shared<const Magnitude>(0.05f)});
  return plan;
}

// A step of what the runs say, on both: its logits of every token.
struct BothSteps {
  std::vector<float> device, host;
};

class Steps {
 public:
  explicit Steps(OnBoth& both) : both_(both) {}
  ~Steps() {
    for (const hunch::Run& run : runs_) both_.cache->release(run.sequence), both_.host_cache.release(run.sequence);
  }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;
  // The run of a new sequence that has read `n_before` tokens by itself, without plan or adapter.
  void add(hunch::Run run, size_t n_before) {
    const std::vector<int32_t> all = some_ids(both_.model, 7 + n_before + run.n_tokens);
    const std::span<const int32_t> past = std::span(all).subspan(7 * (runs_.size() % 2), n_before);
    const KvCache::SequenceId there = both_.cache->create(), here = both_.host_cache.create();
    if (n_before > 0) all_logits(both_.on_device, there, past), all_logits(both_.on_host, here, past);
    EXPECT_EQ(there, here);
    run.sequence = there;
    ids_.insert(ids_.end(), all.end() - ptrdiff_t(run.n_tokens), all.end());
    runs_.push_back(run);
  }
  BothSteps run() {
    std::vector<uint32_t> rows(ids_.size());
    for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
    both_.on_device.stats = both_.on_host.stats = {};
    const auto values = [&](Transformer& transformer) {
      const MatView<const float> logits = transformer.run({ids_, runs_, rows});
      return std::vector<float>(logits.data, logits.data + logits.rows * logits.cols);
    };
    return {values(both_.on_device), values(both_.on_host)};
  }

 private:
  OnBoth& both_;
  std::vector<int32_t> ids_;
  std::vector<Run> runs_;
};

TEST_F(MatrixTest, EveryPlanInEveryCompanyIsTheProcessors) {
  for (const char* name : {"opt_sparse", "tiny_fatrelu", "llama_mha"})
    for (const size_t first_layer : {0, 1}) {
      OnBoth both(kFixtures / name, {}, 2048, first_layer);
      const ModelConfig& c = both.model.config();
      const bool is_relu = c.layers[0].makes_zeros();
      const std::shared_ptr<const Adapter> a = random_adapter(both.model, "a", 4),
                                           b = random_adapter(both.model, "b", 9);
      both.model.adapt(*a);
      both.model.adapt(*b);
      const RandomPlan here(c, Look::kHere, Look::kHere, is_relu), ahead(c, Look::kAttention, Look::kHere, is_relu);
      const Plan exact = Plan::exact(c), large = cats(c);
      for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact, &large, &here.plan, &ahead.plan})
        for (const std::shared_ptr<const Adapter>& adapter : {std::shared_ptr<const Adapter>(), a})
          for (const bool as_alone : {false, true}) {
            if (adapter && as_alone && first_layer > 0) continue;  // minutes, otherwise
            SCOPED_TRACE(fmt::format("{} from layer {}, {}, {}{}", name, first_layer, plan ? plan->name : "no plan",
                                     adapter ? "adapted" : "plain", as_alone ? ", as alone" : ""));
            Steps steps(both);
            const auto run = [&](size_t n, Phase phase, const Plan* of, const Adapter* with) {
              return hunch::Run{.n_tokens = n, .phase = phase, .plan = of, .as_alone = as_alone, .adapter = with};
            };
            steps.add(run(1, Phase::kDecode, plan, adapter.get()), 5);
            steps.add(run(1, Phase::kDecode, nullptr, nullptr), 11);
            steps.add(run(1, Phase::kDecode, plan, adapter.get()), 3);
            steps.add(run(3, Phase::kVerify, plan, adapter.get()), 9);
            steps.add(run(1, Phase::kDecode, &exact, b.get()), 2);
            steps.add(run(20, Phase::kPrompt, plan, adapter.get()), 4);
            steps.add(run(6, Phase::kPrompt, nullptr, b.get()), 0);
            const BothSteps got = steps.run();
            EXPECT_LE(worst(got.device, got.host), kTolerance);
            const StepStats &device = both.on_device.stats, &host = both.on_host.stats;
            EXPECT_EQ(device.n_tokens, host.n_tokens);
            EXPECT_EQ(device.all_neurons, host.all_neurons);
            if (plan == &large)
              for (size_t l = first_layer; l < c.n_layer; ++l)
                EXPECT_LT(device.active_neurons[l], device.all_neurons[l]);
          }
    }
}

TEST_F(MatrixTest, AnAdapterThatIsGoneIsNotTakenForAnother) {
  OnBoth both(kFixtures / "llama_mha");
  const std::vector<int32_t> ids = some_ids(both.model, 6);
  const auto with = [&](uint32_t seed) {
    const std::shared_ptr<const Adapter> adapter = random_adapter(both.model, "one", seed);
    both.model.adapt(*adapter);
    Steps steps(both);
    steps.add({.n_tokens = 6, .adapter = adapter.get()}, 0);
    return steps.run();
  };
  const BothSteps first = with(1);
  for (uint32_t seed = 2; seed < 8; ++seed) {  // some of them lie where the one before lay
    const BothSteps next = with(seed);
    EXPECT_LE(worst(next.device, next.host), kTolerance) << seed;
    EXPECT_GT(worst(next.device, first.device), 10 * kTolerance) << seed;
  }
}

TEST_F(MatrixTest, AdaptersThatAreMoreThanTwoProductsAreRefusedByName) {
  OnBoth both(kFixtures / "llama_mha");
  const Linear& q = *both.model.weights().layers[1].attention.q;
  const auto message = [&](AdapterPart part, LinearId id) -> std::string {
    auto adapter = std::make_shared<Adapter>("tone");
    adapter->parts.emplace(id, std::move(part));
    Steps steps(both);
    steps.add({.n_tokens = 2, .adapter = adapter.get()}, 0);
    try {
      steps.run();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
      return e.what();
    }
    return "nothing was thrown";
  };
  const std::vector<float> none(q.n_in * q.n_out);
  const MatView<const float> A(none.data(), 1, q.n_in), B(none.data(), 1, q.n_out);
  EXPECT_EQ(message(AdapterPart(A, B, std::vector<float>(q.n_out, 0.5f)), q.id),
            "devices do not compute the adapter 'tone' (adapters): of q of layer 1 it has magnitudes (DoRA)");
  AdapterPart whole(A, B, {});
  whole.replace(q.id, MatView<const float>(none.data(), q.n_out, q.n_in), {});
  EXPECT_NE(message(std::move(whole), q.id).find("has a whole matrix"), std::string::npos);
  EXPECT_NE(message(AdapterPart(A, B, {}), {.role = Role::kEmbedding}).find("has rows of its own"), std::string::npos);
}

TEST_F(MatrixTest, OfLogitsOnlyTheLargestComeBackWhereOnlyTheyAreWanted) {
  for (const size_t first_layer : {0, 1}) {
    OnBoth both(kFixtures / "llama_mha", {}, 512, first_layer);
    const std::vector<int32_t> ids = some_ids(both.model, 5);
    const size_t n_vocab = both.model.config().n_vocab;
    const std::vector<float> all = all_logits(both.on_device, both.cache->create(), ids);
    for (const size_t n_best : {size_t{1}, size_t{7}, size_t{40}, n_vocab}) {
      std::vector<uint32_t> rows = {1, 4};
      hunch::Run run{.sequence = both.cache->create(), .n_tokens = ids.size()};
      (n_best == 1 ? run.only_best = true : (run.n_best = n_best, false));
      const MatView<const float> got = both.on_device.run({ids, {&run, 1}, rows});
      for (size_t r = 0; r < rows.size(); ++r) {
        std::vector<float> want(all.begin() + ptrdiff_t(rows[r] * n_vocab),
                                all.begin() + ptrdiff_t((rows[r] + 1) * n_vocab));
        std::vector<float> order = want;
        std::ranges::sort(order, std::greater<float>());
        if (n_best < n_vocab)
          for (float& v : want)
            if (v < order[n_best - 1]) v = -INFINITY;
        EXPECT_EQ(std::vector<float>(got.row(r).begin(), got.row(r).end()), want) << n_best;
      }
    }
  }
}

// One row of a step that wants all has all of them come back.
TEST_F(MatrixTest, RowsThatWantAllLogitsGetThemBesideThoseThatDoNot) {
  OnBoth both(kFixtures / "llama_mha");
  Steps steps(both);
  steps.add({.n_tokens = 1, .phase = Phase::kDecode, .only_best = true}, 4);
  steps.add({.n_tokens = 2, .phase = Phase::kPrompt}, 4);
  const BothSteps got = steps.run();
  EXPECT_LE(worst(got.device, got.host), kTolerance);
}

}  // namespace
}  // namespace hunch
