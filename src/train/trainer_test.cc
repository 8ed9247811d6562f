// Runs of training: they learn, they are the same whoever interrupts them, and nothing is lost.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "io/test_bytes.h"
#include "train/test_networks.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// A text with something to learn: phrases of a few tokens, again and again.
std::vector<int32_t> repetitive_ids(size_t n, size_t n_vocab) {
  const std::vector<int32_t> phrases = random_ids(24, n_vocab, 3);
  std::vector<int32_t> ids;
  RandomValues random(4);
  while (ids.size() < n) {
    const size_t first = random.below(4) * 6;
    ids.insert(ids.end(), phrases.begin() + ptrdiff_t(first), phrases.begin() + ptrdiff_t(first) + 6);
  }
  ids.resize(n);
  return ids;
}

TrainerOptions small_options(size_t n_steps) {
  TrainerOptions o;
  o.n_steps = n_steps;
  o.n_warmup = 2;
  o.n_ctx = 16;
  o.n_batch = 3;
  o.learning_rate = 1e-2;
  o.eval_every = 4;
  o.checkpoint_every = 3;
  return o;
}

enum class What : uint8_t { kAll, kLora, kDora };

// A network of the fixture, its text and a trainer.
struct Session {
  TestModel m;
  Network network;
  std::vector<int32_t> ids, held_out;
  Trainer trainer;

  Session(const char* fixture, What what, const TrainerOptions& options, size_t n_threads = 2)
      : m(fixture, n_threads),
        network(m.model, m.compute),
        ids(repetitive_ids(700, m.model.config().n_vocab)),
        held_out(repetitive_ids(70, m.model.config().n_vocab)),
        trainer((prepare(what), network), ids, held_out, options) {}

  void prepare(What what) {
    if (what == What::kAll) return network.train_all();
    network.add_low_rank({what == What::kDora ? LowRankKind::kDora : LowRankKind::kLora, 4, 8}, kAllRoles, 1);
  }
  std::vector<float> values() const {
    std::vector<float> all;
    for (const auto& p : network.parameters.all) all.insert(all.end(), p->values().begin(), p->values().end());
    return all;
  }
};

struct Way {
  const char* name;
  What what;
  Update update;
  OptimizerKind kind;
  double rate;
  double falls_to;  // share of the first held-out loss
};

class EveryWay : public ::testing::TestWithParam<Way> {
 protected:
  static TrainerOptions options(size_t n_steps) {
    TrainerOptions o = small_options(n_steps);
    o.update = GetParam().update;
    o.optimizer.kind = GetParam().kind;
    if (o.optimizer.kind == OptimizerKind::kLion) o.optimizer.beta2 = 0.99f;
    o.optimizer.weight_decay = 0.01f;
    o.learning_rate = GetParam().rate;
    return o;
  }
};

TEST_P(EveryWay, LearnsTheText) {
  Session s("llama_mha", GetParam().what, options(GetParam().update == Update::kMezo ? 100 : 25));
  const TrainerReport report = s.trainer.run();
  EXPECT_LT(report.held_out_after, GetParam().falls_to * report.held_out_before);
  EXPECT_EQ(report.curve.size(), report.n_steps + 1);
}

TEST_P(EveryWay, GoesOnToTheBitAfterACheckpointWithOtherThreads) {
  TempDir dir("train");
  TrainerOptions o = options(8);
  Session whole("llama_mha", GetParam().what, o, 1);
  const TrainerReport want = whole.trainer.run();

  o.checkpoint = dir.path / "run.checkpoint";
  Stop stop;
  {
    Session first("llama_mha", GetParam().what, o, 3);
    first.m.compute.stop = &stop;
    try {
      first.trainer.run([&](const TrainProgress& p) {
        if (p.step == 5) stop.request();
      });
      ADD_FAILURE() << "nobody stopped it";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kInterrupted);
    }
  }
  Session second("llama_mha", GetParam().what, o, 2);
  const TrainerReport got = second.trainer.run();
  EXPECT_EQ(got.first_step, 5u);
  EXPECT_EQ(second.values(), whole.values());
  ASSERT_EQ(got.curve.size(), want.curve.size());
  for (size_t i = 0; i < want.curve.size(); ++i) {
    EXPECT_EQ(got.curve[i].loss, want.curve[i].loss) << i;
    EXPECT_EQ(got.curve[i].held_out, want.curve[i].held_out) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ways, EveryWay,
    ::testing::Values(Way{"full", What::kAll, Update::kGradients, OptimizerKind::kAdamW, 1e-2, 0.5},
                      Way{"lora", What::kLora, Update::kGradients, OptimizerKind::kAdamW, 3e-2, 0.7},
                      Way{"dora_lion", What::kDora, Update::kGradients, OptimizerKind::kLion, 1e-2, 0.7},
                      Way{"adamw8", What::kAll, Update::kGradients, OptimizerKind::kAdamW8, 1e-2, 0.5},
                      Way{"muon", What::kAll, Update::kGradients, OptimizerKind::kMuon, 1e-2, 0.5},
                      Way{"sgd", What::kAll, Update::kGradients, OptimizerKind::kSgd, 0.3, 0.8},
                      Way{"lomo", What::kAll, Update::kFused, OptimizerKind::kSgd, 0.05, 0.8},
                      Way{"mezo", What::kLora, Update::kMezo, OptimizerKind::kSgd, 2e-3, 0.998}),
    [](const auto& i) { return i.param.name; });

// The gradients of a block are there for a moment only, and the steps are SGD's.
TEST(Lomo, TakesThePlainStepsOfSgdInAFractionOfTheMemory) {
  TrainerOptions o = small_options(3);
  o.clip = 0;
  o.learning_rate = 0.02;
  o.optimizer.kind = OptimizerKind::kSgd;
  Session plain("opt_sparse", What::kAll, o);
  o.update = Update::kFused;
  Session fused("opt_sparse", What::kAll, o);
  for (int step = 0; step < 3; ++step) EXPECT_NEAR(plain.trainer.step(), fused.trainer.step(), 1e-5);
  EXPECT_LE(worst_difference(fused.values(), plain.values()), 1e-6f);
  const auto* first = fused.network.parameters.all[0]->grad.data;
  size_t n_shared = 0;
  for (const auto& p : fused.network.parameters.all) n_shared += p->layer == 1 && p->grad.data == first;
  EXPECT_EQ(n_shared, 1u) << "blocks have gradients of their own";
}

TEST(Trainer, StopsAtALossThatIsNoNumberAndKeepsTheCheckpoint) {
  TempDir dir("train");
  TrainerOptions o = small_options(12);
  o.checkpoint = dir.path / "run.checkpoint";
  Session s("llama_mha", What::kAll, o);
  std::string before;
  try {
    s.trainer.run([&](const TrainProgress& p) {
      if (p.step != 7) return;
      before = read_file(o.checkpoint);
      s.network.parameters.all[3]->values()[0] = NAN;
    });
    ADD_FAILURE() << "it went on";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(e.what()).find("step 8"), std::string::npos) << e.what();
  }
  EXPECT_EQ(read_file(o.checkpoint), before);
  Session again("llama_mha", What::kAll, o);
  EXPECT_EQ(again.trainer.run().first_step, 6u) << "of the last multiple of checkpoint_every";
}

// A value that no window of the text meets: the loss does not see it.
TEST(Trainer, WritesNoCheckpointOfValuesThatAreNotFinite) {
  TempDir dir("train");
  TrainerOptions o = small_options(3);
  o.checkpoint = dir.path / "run.checkpoint";
  o.checkpoint_every = 2;
  Session s("opt_sparse", What::kAll, o);
  try {
    s.trainer.run([&](const TrainProgress& p) {
      for (const auto& parameter : s.network.parameters.all)
        if (p.step == 1 && parameter->name == "position_embd.weight") parameter->values().back() = INFINITY;
    });
    ADD_FAILURE() << "it went on";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat) << e.what();
    EXPECT_NE(std::string(e.what()).find("'position_embd.weight' is no longer finite after step 2"), std::string::npos)
        << e.what();
  }
  EXPECT_FALSE(fs::exists(o.checkpoint));
}

TEST(Trainer, RefusesACheckpointOfAnotherRunNamingTheDifference) {
  TempDir dir("train");
  TrainerOptions o = small_options(2);
  o.checkpoint = dir.path / "run.checkpoint";
  Session("llama_mha", What::kAll, o).trainer.run();
  const auto refused = [&](What what, const TrainerOptions& other, const char* word) {
    Session s("llama_mha", what, other);
    try {
      s.trainer.run();
      ADD_FAILURE() << word << ": it went on";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(o.checkpoint.string()), std::string::npos) << e.what();
    }
  };
  TrainerOptions other = o;
  other.learning_rate = 2e-2;
  refused(What::kAll, other, "learning rate");
  other = o;
  other.seed = 7;
  refused(What::kAll, other, "seed");
  other = o;
  other.settings["text"] = "another";
  refused(What::kAll, other, "text");
  refused(What::kLora, o, "lora_a");
  std::ofstream(o.checkpoint) << "no checkpoint";
  refused(What::kAll, o, "GGUF");
}

TEST(Trainer, RefusesWhatCannotBeMeant) {
  const auto refused = [&](const TrainerOptions& o, const char* word) {
    try {
      Session s("llama_mha", What::kLora, o);
      ADD_FAILURE() << word << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  TrainerOptions o = small_options(2);
  o.n_ctx = 100;
  refused(o, "held out");
  o.n_ctx = 100000;
  refused(o, "context");
  o = small_options(0);
  refused(o, "0 steps");
  o = small_options(1);
  o.learning_rate = 0;
  refused(o, "learning rate");
  o = small_options(1);
  o.update = Update::kFused;
  refused(o, "plain SGD");
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  network.train_all();
  const std::vector<int32_t> few(16, 1);
  try {
    Trainer(network, few, {}, small_options(1));
    ADD_FAILURE() << "16 tokens make a window of 16 and one to predict";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("16 tokens; one window takes 17"), std::string::npos) << e.what();
  }
}

TEST(TokenSource, EveryPassHasAllWindowsInAnOrderOfItsOwn) {
  std::vector<int32_t> ids(103);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i);
  TokenSource source(ids, 10, 1);
  ASSERT_EQ(source.n_windows(), 10u);
  std::vector<std::vector<int32_t>> passes;
  for (const uint64_t pass : {0, 1}) {
    const TokenBatch batch = source.batch(pass * 10, 10);
    std::set<int32_t> begins;
    for (size_t w = 0; w < 10; ++w) begins.insert(batch.ids[w * 10]);
    EXPECT_EQ(begins.size(), 10u);
    EXPECT_EQ(*begins.rbegin() - *begins.begin(), 90);
    for (size_t i = 0; i < batch.ids.size(); ++i) EXPECT_EQ(batch.targets[i], batch.ids[i] + 1);
    passes.push_back(batch.ids);
  }
  EXPECT_NE(passes[0], passes[1]);
  TokenSource again(ids, 10, 1);
  EXPECT_EQ(again.batch(10, 10).ids, passes[1]) << "of the second pass, without the first";
}

TEST(Schedule, RisesAndFalls) {
  const Schedule s{1.0, 0.1, 4, 14};
  EXPECT_DOUBLE_EQ(s.at(0), 0.25);
  EXPECT_DOUBLE_EQ(s.at(3), 1.0);
  EXPECT_DOUBLE_EQ(s.at(4), 1.0);
  for (size_t i = 4; i < 13; ++i) EXPECT_LT(s.at(i + 1), s.at(i));
  EXPECT_NEAR(s.at(13), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ((Schedule{1.0, 0.1, 0, 1}).at(0), 1.0);
}

}  // namespace
}  // namespace hunch
