// Which models are loaded when: by who asks, who is idle, and how many may be.
#include "serve/models.h"

#include <gtest/gtest.h>

#include <future>

#include "base/error.h"
#include "serve/model_choice.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

// The client of a request: its answer, and its leaving.
class Client : public Reply {
 public:
  void send(HttpResponse response) override {
    const std::lock_guard lock(mutex_);
    status = response.status;
    body = std::move(response.body);
    answered.set_value();
  }
  void begin_stream(std::string) override {}
  void write(std::string) override {}
  void end() override {}
  void when_gone(std::function<void()> call) override {
    const std::lock_guard lock(mutex_);
    gone_ = std::move(call);
  }
  void post(std::function<void()> call) override { call(); }
  void note(std::string, Json) override {}
  void leave() {
    std::function<void()> call;
    {
      const std::lock_guard lock(mutex_);
      call = std::move(gone_);
    }
    if (call) call();
  }
  void wait() { answered.get_future().get(); }

  int status = 0;
  std::string body;
  std::promise<void> answered;

 private:
  std::mutex mutex_;
  std::function<void()> gone_;
};

class ModelsTest : public ::testing::Test {
 protected:
  void begin(ModelsOptions options) {
    models_.reset();
    for (const char* name : {"a", "b", "c"})
      options.sources.push_back({name, std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data/golden" /
                                           (name[0] == 'a' ? "opt_sparse" : "tiny_llama")});
    options.sources.push_back({"broken", std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data"});
    options.may_unload = true;
    options.service.scheduler.n_parallel = 2;
    options.service.scheduler.n_ctx = 32;
    options.open = [this](const ModelSource& source, const Stop* stop) {
      std::shared_future<void> gate;
      {
        const std::lock_guard lock(mutex_);
        loads_.push_back(source.name);
        gate = gate_;
      }
      if (gate.valid()) gate.wait();
      return load_engine(source.path, {.n_threads = 1, .stop = stop});
    };
    models_ = std::make_unique<Models>(std::move(options), responses_);
  }
  // A request that holds its model until it is let go of.
  std::shared_ptr<Client> ask(const std::string& name, std::optional<double> keep_seconds = {}) {
    const auto client = std::make_shared<Client>();
    models_->use({name, 10, keep_seconds}, Dialect::kOpenAi, client,
                 [this, name](Service& service, const std::shared_ptr<Reply>& reply) {
                   EXPECT_EQ(service.words().openai["id"], name);
                   {
                     const std::lock_guard lock(mutex_);
                     held_.emplace_back(name, reply);
                   }
                   reply->send({200, "text/plain", name});
                 });
    return client;
  }
  std::shared_ptr<Client> answered(const std::string& name, std::optional<double> keep_seconds = {}) {
    const auto client = ask(name, keep_seconds);
    client->wait();
    return client;
  }
  void let_go() {
    std::vector<std::pair<std::string, std::shared_ptr<Reply>>> out;
    const std::lock_guard lock(mutex_);
    std::swap(out, held_);
  }
  std::string loaded() {
    std::string out;
    for (const ModelState& state : models_->states())
      if (state.kind == ModelState::Kind::kLoaded) out += state.source.name;
    return out;
  }
  void wait_for(const std::string& names) {
    for (size_t i = 0; i < 2000 && loaded() != names; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(loaded(), names);
  }
  std::vector<std::string> loads() {
    const std::lock_guard lock(mutex_);
    return loads_;
  }

  StoredResponses responses_;
  std::mutex mutex_;
  std::vector<std::pair<std::string, std::shared_ptr<Reply>>> held_;
  std::vector<std::string> loads_;
  std::shared_future<void> gate_;
  std::unique_ptr<Models> models_;
};

TEST_F(ModelsTest, TheOneUsedLastBeforeTheOthersMakesRoom) {
  begin({.n_most = 2});
  EXPECT_EQ(loaded(), "");
  for (const char* name : {"a", "b", "a"}) {
    answered(name);
    let_go();
  }
  answered("c");
  EXPECT_EQ(loaded(), "ac");
  let_go();
  EXPECT_EQ(loads(), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(ModelsTest, WhatAnswersIsNotUnloadedAndWhoAsksForItMeanwhileWaits) {
  begin({.n_most = 1});
  answered("a");
  const auto b = ask("b");
  for (size_t i = 0; i < 200 && models_->state("a").kind == ModelState::Kind::kLoaded; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(loaded(), "a");     // it is held
  const auto again = ask("a");  // behind b, or b would wait for ever
  EXPECT_EQ(again->status, 0);
  let_go();
  b->wait();
  EXPECT_EQ(loaded(), "b");
  EXPECT_EQ(again->status, 0);
  let_go();
  again->wait();
  let_go();
  EXPECT_EQ(loads(), (std::vector<std::string>{"a", "b", "a"}));
}

TEST_F(ModelsTest, OthersAreAnsweredWhileOneIsLoaded) {
  begin({.n_most = 3});
  answered("a");
  std::promise<void> go;
  {
    const std::lock_guard lock(mutex_);
    gate_ = go.get_future().share();
  }
  const auto b = ask("b"), leaves = ask("b"), never = ask("c");
  while (models_->state("b").kind != ModelState::Kind::kLoading) std::this_thread::yield();
  answered("a");
  leaves->leave();
  never->leave();
  go.set_value();
  b->wait();
  EXPECT_EQ(leaves->status, 0);
  EXPECT_EQ(held_.size(), 3u);
  answered("a");
  EXPECT_EQ(loads(), (std::vector<std::string>{"a", "b"}));  // nobody waited for c any more
  let_go();
}

TEST_F(ModelsTest, IdleOnesGo) {
  begin({.n_most = 3, .idle_seconds = 0.05});
  answered("a");
  answered("b", -1);
  answered("c", 0);
  EXPECT_EQ(loaded(), "abc");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(loaded(), "abc");  // they are held
  let_go();
  wait_for("b");
  models_->unload("b");
  wait_for("");
  answered("b");  // as the others again
  let_go();
  wait_for("");
}

TEST_F(ModelsTest, SecondsThatNoClockCountsAreForGood) {
  begin({.n_most = 3});
  for (const double seconds : {3.6e10, 1e300}) {
    answered("a", seconds);
    let_go();
    EXPECT_EQ(models_->state("a").idle_seconds, -1) << seconds;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(loaded(), "a") << seconds;
  }
}

TEST_F(ModelsTest, WhatCannotBeLoadedIsItsRequestsError) {
  begin({.n_most = 1});
  answered("a");
  let_go();
  for (size_t i = 0; i < 2; ++i) {
    const auto broken = answered("broken");
    EXPECT_EQ(broken->status, 500);
    EXPECT_NE(broken->body.find("the model 'broken' cannot be loaded"), std::string::npos) << broken->body;
    EXPECT_EQ(broken->body.find(HUNCH_SOURCE_DIR), std::string::npos) << broken->body;
  }
  EXPECT_FALSE(models_->state("broken").failure.empty());
  answered("a");
  let_go();
}

TEST_F(ModelsTest, FewWait) {
  begin({.n_most = 1, .n_queue = 2, .queue_bytes = 15});
  answered("a");
  const auto first = ask("b");
  try {
    ask("b");
    FAIL() << "its body was taken";
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 503);
  }
  let_go();
  first->wait();
  const auto ask_for_nothing = [&](const char* name) {
    models_->use({name}, Dialect::kOpenAi, std::make_shared<Client>(), [](Service&, const std::shared_ptr<Reply>&) {});
  };
  ask_for_nothing("a");
  ask_for_nothing("a");
  try {
    ask_for_nothing("a");
    FAIL() << "the third was taken";
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 429);
  }
  let_go();
}

TEST_F(ModelsTest, TheEndRefusesWhoWaits) {
  begin({.n_most = 1});
  answered("a");
  const auto waits = ask("b");
  models_->drain();
  waits->wait();
  EXPECT_EQ(waits->status, 503);
  EXPECT_THROW(ask("a"), RequestError);
  models_->close();
  let_go();
}

TEST_F(ModelsTest, NamesThatAreNotThere) {
  begin({.aliases = {{"gpt", "a"}}});
  EXPECT_EQ(models_->state("gpt").source.name, "a");
  EXPECT_EQ(models_->state("gpt:latest").source.name, "a");
  for (const char* name : {"x", "", "gpt:8b"}) {
    try {
      models_->state(name);
      FAIL() << name;
    } catch (const RequestError& e) {
      EXPECT_EQ(e.status(), *name ? 404 : 400);
      EXPECT_NE(std::string(e.what()).find("a, b, c, broken"), std::string::npos);
    }
  }
  EXPECT_THROW(begin({.aliases = {{"gpt", "x"}}}), Error);
}

TEST(ModelSource, NamesOfFilesAndFolders) {
  EXPECT_EQ(name_of_model("/m/qwen3-0.6b-q4_0.gguf"), "qwen3-0.6b-q4_0");
  EXPECT_EQ(name_of_model("/m/big-00001-of-00003.gguf"), "big");
  EXPECT_EQ(name_of_model("/m/Llama-3.2/"), "Llama-3.2");
  EXPECT_EQ(name_of_model("stories.bin"), "stories");
}

TEST(ModelChoice, ReadsTheOutermostObjectAlone) {
  EXPECT_EQ(model_choice(R"({"a": {"model": "x"}, "b": [{"model": "y"}], "model": "z", "c": 1})").name, "z");
  EXPECT_EQ(model_choice(R"({"a": {"model": "x"}, "b": ["model", "y"]})").name, "");
  EXPECT_EQ(model_choice(R"([{"model": "x"}])").name, "");
  EXPECT_EQ(model_choice(R"({"model": null, "keep_alive": null})").name, "");
  EXPECT_EQ(model_choice(R"({"keep_alive": -1})").keep_seconds, -1);
  EXPECT_EQ(model_choice(R"({"keep_alive": "1h30m", "x": {"keep_alive": 5}})").keep_seconds, 5400);
  EXPECT_FALSE(model_choice("{}").keep_seconds);
  for (const char* wrong : {R"({"model": 1})", R"({"model": {"model": "x"}})", R"({"keep_alive": "x"})",
                            R"({"keep_alive": []})", R"({"model": true})", "{", "", "\xff"})
    EXPECT_THROW(model_choice(wrong), RequestError) << wrong;
}

TEST(ModelChoice, Durations) {
  const std::vector<std::pair<const char*, double>> right = {{"0", 0},       {"300", 300},     {"10m", 600},
                                                             {"1.5h", 5400}, {"1h2m3s", 3723}, {"250ms", 0.25},
                                                             {"-1", -1},     {"-1m", -60}};
  for (const auto& [text, seconds] : right) EXPECT_DOUBLE_EQ(duration_from(text).value_or(12345), seconds) << text;
  for (const char* wrong : {"", "-", "m", "10x", "10 m", "1h2", "--1", "nan", "inf", "1e999"})
    EXPECT_FALSE(duration_from(wrong)) << wrong;
}

}  // namespace
}  // namespace hunch::serve
