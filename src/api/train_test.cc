// Training through the public header: what is written is what models take, callbacks end it, and what cannot be meant
// is refused.
#include "hunch/train.h"

#include <gtest/gtest.h>

#include "hunch/evaluate.h"
#include "io/test_bytes.h"
#include "synth/synth.h"
#include "synth/text.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

SynthOptions small_opt() {
  SynthOptions o;
  o.shape = synth_shape("opt-125m");
  o.shape.n_layer = 2;
  o.shape.n_embd = 96;  // for 16 contexts
  o.shape.n_ff = 128;
  o.shape.n_head = o.shape.n_kv_head = 4;
  o.shape.n_vocab = 1024;
  o.shape.n_ctx = 128;
  o.planting.n_contexts = 16;
  o.planting.density.assign(2, 0.2);
  return o;
}

class ApiTraining : public ::testing::Test {
 protected:
  void SetUp() override {
    Compute compute(2);
    write_synth(path_, small_opt(), compute);
    text_ = synth_text(synth_text_ids(small_opt(), 700, 1));
    other_ = synth_text(synth_text_ids(small_opt(), 150, 2));
    options_.n_steps = 4;
    options_.n_ctx = 24;
    options_.n_batch = 2;
    options_.learning_rate = 3e-3;
  }
  void refused(const TrainingOptions& options, const char* word, const char* out = "x.gguf") {
    LanguageModel model(path_);
    try {
      train(model, text_, dir_.path / out, options);
      ADD_FAILURE() << word << ": it was accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
    EXPECT_FALSE(fs::exists(dir_.path / out));
  }

  const TempDir dir_{"api_training"};
  const fs::path path_ = dir_.path / "small.gguf";
  std::string text_, other_;
  TrainingOptions options_;
};

TEST_F(ApiTraining, WhatIsWrittenIsTakenAtOnce) {
  LanguageModel model(path_);
  options_.held_out = other_;
  options_.n_steps = 24;
  size_t n_told = 0;
  options_.on_step = [&](const TrainingStep& step) {
    EXPECT_EQ(step.step, ++n_told);
    EXPECT_GT(step.loss, 0);
    return true;
  };
  const Training adapter = train(model, text_, dir_.path / "tone.gguf", options_);
  EXPECT_EQ(n_told, 24u);
  EXPECT_EQ(adapter.losses.size(), 24u);
  EXPECT_LT(adapter.held_out_after, adapter.held_out_before);
  const auto perplexity_of = [&](LanguageModel& of) {
    return perplexity(of, other_, {.n_ctx = 24, .stride = 24}).perplexity;
  };
  LanguageModel adapted(path_, {.adapters = {{adapter.out}}});
  EXPECT_LT(perplexity_of(adapted), perplexity_of(model));

  options_.on_step = {};
  options_.method = "full";
  options_.learning_rate = 1e-3;
  const Training all = train(model, text_, dir_.path / "all.gguf", options_);
  LanguageModel trained(all.out);
  EXPECT_LT(perplexity_of(trained), 0.9 * perplexity_of(model));

  options_.optimizer = "muon";
  options_.teacher = &trained;
  const Training taught = train(model, text_, dir_.path / "taught.gguf", options_);
  EXPECT_GT(taught.losses.front(), 0);
  LanguageModel student(taught.out);
  EXPECT_LT(perplexity_of(student), 0.97 * perplexity_of(model));

  // An adapter of the teacher's would be left out without a word.
  options_.teacher = &adapted;
  refused(options_, "adapters");
}

TEST_F(ApiTraining, ACallbackEndsItWithWhatWasLearned) {
  LanguageModel model(path_);
  options_.on_step = [](const TrainingStep& step) { return step.step < 2; };
  const Training done = train(model, text_, dir_.path / "tone", options_);
  EXPECT_EQ(done.n_steps, 2u);
  EXPECT_TRUE(fs::exists(dir_.path / "tone" / "adapter_config.json"));
}

TEST_F(ApiTraining, CancelledItGoesOnFromItsCheckpoint) {
  LanguageModel model(path_);
  const Training whole = train(model, text_, dir_.path / "whole.gguf", options_);
  Cancel cancel;
  options_.cancel = &cancel;
  options_.checkpoints = true;
  options_.on_step = [&](const TrainingStep& step) {
    if (step.step == 2) cancel.request();
    return true;
  };
  EXPECT_THROW(train(model, text_, dir_.path / "parts.gguf", options_), Error);
  EXPECT_TRUE(fs::exists(dir_.path / "parts.gguf.checkpoint"));
  cancel.clear();
  options_.on_step = {};
  const Training parts = train(model, text_, dir_.path / "parts.gguf", options_);
  EXPECT_EQ(parts.losses, whole.losses);
  EXPECT_FALSE(fs::exists(dir_.path / "parts.gguf.checkpoint"));
}

TEST_F(ApiTraining, AnswersOfExamplesAreLearned) {
  LanguageModel model(path_);
  std::vector<TrainingExample> examples;
  for (int i = 0; i < 20; ++i)
    examples.push_back({text_.substr(size_t(20 * i), 15), text_.substr(size_t(20 * i + 15), 5)});
  options_.n_ctx = 0;
  const Training done = train(model, examples, dir_.path / "x.gguf", options_);
  EXPECT_LT(done.held_out_after, done.held_out_before);
  options_.replace = true;
  EXPECT_THROW(train(model, std::vector<TrainingExample>{{"a", ""}}, dir_.path / "x.gguf", options_), Error);
  EXPECT_THROW(train(model, std::vector<TrainingExample>{}, dir_.path / "x.gguf", options_), Error);
}

TEST_F(ApiTraining, WhatCannotBeMeantIsRefused) {
  TrainingOptions o = options_;
  o.method = "magic";
  refused(o, "lora, rslora, dora, ia3, prompt, prefix, full");
  o = options_;
  o.optimizer = "adam";
  refused(o, "adamw8");
  o = options_;
  o.type = "q4_0";
  refused(o, "method full");
  o = options_;
  o.method = "full";
  refused(o, ".gguf", "folder");
  o = options_;
  o.method = "dora";
  refused(o, "dora");
  o = options_;
  o.prune = 2;
  o.method = "full";
  refused(o, "prune");
  o = options_;
  o.only_layers = {5};
  refused(o, "layer 5");
  o = options_;
  o.n_ctx = 5000;
  refused(o, "context");
  o = options_;
  o.learning_rate = -1;
  refused(o, "learning_rate");
  LanguageModel model(path_);
  EXPECT_THROW(train(model, text_, path_, options_), Error) << "it is there";
  EXPECT_THROW(train(model, "short", dir_.path / "x.gguf", options_), Error);
}

}  // namespace
}  // namespace hunch
