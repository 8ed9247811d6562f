// Pulls from a hub on 127.0.0.1 that answers as the real one does, and fails as networks do.
#include "hub/hub.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/timer.h"
#include "hub/api.h"
#include "hub/test_server.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;
using test::FakeHub;
using test::Reply;
using test::Request;

// Bytes that differ everywhere, so that a wrong offset shows.
std::string bytes(size_t n, uint32_t seed) {
  std::string out(n, '\0');
  for (char& c : out) c = char((seed = seed * 1664525 + 1013904223) >> 24);
  return out;
}

class Hub : public testing::Test {
 protected:
  void SetUp() override {
    setenv("NO_PROXY", "127.0.0.1,localhost", 1);
    home_ = fs::path(testing::TempDir()) / ("hunch_hub_" + std::to_string(getpid()) + "_" +
                                            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(home_);
    options_.home = home_;
    options_.endpoint = hub_.url();
    options_.n_retries = 3;
    options_.backoff_s = 0.01;
    options_.note = [this](std::string_view note) { notes_ += std::string(note) + "\n"; };
    options_.progress = [this](std::string_view, uint64_t done, uint64_t total) {
      done_ = done;
      total_ = total;
      if (on_progress_) on_progress_(done);
    };
    hub_.files["config.json"] = {"{\"model_type\":\"opt\"}"};
    hub_.files["tokenizer.json"] = {"{}"};
    hub_.files["README.md"] = {"not needed"};
    hub_.files["model.safetensors"] = {weights_, true};
    hub_.files["pytorch_model.bin"] = {"the same again", true};
  }
  void TearDown() override { fs::remove_all(home_); }

  PulledModel pull(const std::string& id = "org/model") { return pull_model(id, options_); }

  // The message of the Error that pulling throws, which must be of `kind`.
  std::string refusal(ErrorKind kind, const std::string& id = "org/model") {
    try {
      pull(id);
    } catch (const Error& error) {
      EXPECT_STREQ(name_of(error.kind()), name_of(kind)) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown";
    return "";
  }

  fs::path model_dir() const { return home_ / "models/org--model"; }
  fs::path part(const std::string& file) const { return model_dir() / "parts" / hub_.commit / (file + ".part"); }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  std::string range(const std::string& file, size_t i) const {
    return hub_.content_requests(file).at(i).header("range");
  }

  const std::string weights_ = bytes(300000, 1);
  FakeHub hub_;
  PullOptions options_;
  fs::path home_;
  std::string notes_;
  uint64_t done_ = 0, total_ = 0;
  std::function<void(uint64_t)> on_progress_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Hub, PullsWhatAModelNeedsAndNothingElse) {
  const PulledModel model = pull();
  EXPECT_EQ(model.path, model_dir() / hub_.commit);
  EXPECT_EQ(model.commit, hub_.commit);
  EXPECT_EQ(read_file(model.path / "model.safetensors"), weights_);
  EXPECT_EQ(read_file(model.path / "config.json"), hub_.files["config.json"].content);
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(model.path)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
  EXPECT_EQ(read_file(model_dir() / "refs/main"), hub_.commit + "\n");
  EXPECT_FALSE(fs::exists(model_dir() / "parts"));
  EXPECT_FALSE(fs::exists(model_dir() / (hub_.commit + ".new")));
  const uint64_t total = weights_.size() + hub_.files["config.json"].content.size() + 2;
  EXPECT_EQ(total_, total);
  EXPECT_EQ(done_, total);
  EXPECT_EQ(model.n_received_bytes, total);
  EXPECT_EQ(notes_, "");
}

TEST_F(Hub, SecondPullAsksOnlyForTheCommit) {
  pull();
  const size_t n_before = hub_.hub().requests().size();
  EXPECT_EQ(pull().n_received_bytes, 0u);
  EXPECT_EQ(hub_.hub().requests().size(), n_before + 1);
  pull("org/model@" + hub_.commit);  // a commit never changes
  EXPECT_EQ(hub_.hub().requests().size(), n_before + 1);
}

TEST_F(Hub, NewCommitMakesANewSnapshot) {
  const PulledModel old = pull();
  hub_.commit = std::string(40, 'c');
  hub_.files["model.safetensors"].content = "new";
  const PulledModel now = pull();
  EXPECT_EQ(now.commit, hub_.commit);
  EXPECT_EQ(read_file(now.path / "model.safetensors"), "new");
  EXPECT_EQ(read_file(old.path / "model.safetensors"), weights_);
}

TEST_F(Hub, TokenGoesToTheHubAndNotToWhereItRedirects) {
  options_.token = " hf_secret\n";
  hub_.needs_token = "hf_secret";
  pull();
  for (const Request& request : hub_.hub().requests())
    EXPECT_EQ(request.header("authorization"), "Bearer hf_secret") << request.target;
  ASSERT_EQ(hub_.cdn().requests().size(), 1u);
  EXPECT_EQ(hub_.cdn().requests()[0].header("authorization"), "");
}

TEST_F(Hub, ResumesAfterADroppedConnection) {
  hub_.files["model.safetensors"].faults = {Reply{0, {}, "", 100000}};
  const PulledModel model = pull();
  EXPECT_EQ(read_file(model.path / "model.safetensors"), weights_);
  ASSERT_EQ(hub_.content_requests("model.safetensors").size(), 2u);
  EXPECT_EQ(range("model.safetensors", 0), "");
  EXPECT_EQ(range("model.safetensors", 1), "bytes=100000-");
  EXPECT_EQ(model.n_received_bytes, total_);  // not one byte twice
  EXPECT_HAS(notes_, "next attempt");
}

TEST_F(Hub, GivesUpAfterItsRetriesAndResumesInTheNextCall) {
  for (int i = 0; i < 4; i++) hub_.files["model.safetensors"].faults.push_back({0, {}, "", 50000});
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "resumes");
  EXPECT_EQ(read_file(part("model.safetensors")), weights_.substr(0, 200000));
  EXPECT_FALSE(fs::exists(model_dir() / hub_.commit));
  const PulledModel model = pull();
  EXPECT_EQ(read_file(model.path / "model.safetensors"), weights_);
  EXPECT_EQ(range("model.safetensors", 4), "bytes=200000-");
  EXPECT_EQ(model.n_received_bytes, 100000u);  // the small files were kept too
}

TEST_F(Hub, RestartsWhenTheServerKnowsNoRanges) {
  hub_.files["model.safetensors"].no_ranges = true;
  hub_.files["model.safetensors"].faults = {Reply{0, {}, "", 100000}};
  EXPECT_EQ(read_file(pull().path / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.content_requests("model.safetensors").size(), 2u);  // the second answer is the file
  EXPECT_EQ(done_, total_);
}

TEST_F(Hub, RestartsWhenAnotherRangeComesThanAsked) {
  write(part("model.safetensors"), weights_.substr(0, 1000));
  hub_.files["model.safetensors"].faults = {
      Reply{206, {{"Content-Range", "bytes 500-299999/300000"}}, weights_.substr(500)}};
  EXPECT_EQ(read_file(pull().path / "model.safetensors"), weights_);
  EXPECT_EQ(range("model.safetensors", 1), "");
}

TEST_F(Hub, DamagedPartIsDownloadedAnew) {
  write(part("model.safetensors"), std::string(1000, 'x'));
  const PulledModel model = pull();
  EXPECT_EQ(read_file(model.path / "model.safetensors"), weights_);
  EXPECT_HAS(notes_, "anew");
  EXPECT_EQ(done_, total_);
}

TEST_F(Hub, PartThatIsLongerThanTheFileIsDownloadedAnew) {
  write(part("model.safetensors"), weights_ + "x");
  EXPECT_EQ(read_file(pull().path / "model.safetensors"), weights_);
  EXPECT_EQ(range("model.safetensors", 0), "");
}

TEST_F(Hub, WrongChecksumIsRefusedAndDeleted) {
  hub_.files["model.safetensors"].digest = std::string(64, '0');
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "'model.safetensors' of 'org/model' does not match");
  EXPECT_FALSE(fs::exists(part("model.safetensors")));
  EXPECT_FALSE(fs::exists(model_dir() / hub_.commit));
  EXPECT_FALSE(cached_model("org/model", options_));
}

TEST_F(Hub, WrongChecksumOfASmallFileIsRefused) {
  hub_.files["config.json"].digest = std::string(40, '0');
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "'config.json'");
}

TEST_F(Hub, MoreBytesThanListedAreRefused) {
  hub_.files["model.safetensors"].size = weights_.size() - 1;
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "more of them arrive");
}

TEST_F(Hub, FewerBytesThanListedAreRefused) {
  hub_.files["model.safetensors"].size = weights_.size() + 1;
  refusal(ErrorKind::kNetwork);
  EXPECT_FALSE(fs::exists(model_dir() / hub_.commit));
}

TEST_F(Hub, WaitsAsLongAsTheServerAsks) {
  hub_.files["model.safetensors"].faults = {Reply{429, {{"Retry-After", "1"}}, ""}, Reply{503, {}, ""}};
  hub_.api_faults = {Reply{500, {}, ""}};
  const Timer timer;
  EXPECT_EQ(read_file(pull().path / "model.safetensors"), weights_);
  EXPECT_GE(timer.seconds(), 1.0);
  EXPECT_HAS(notes_, "429");
}

TEST_F(Hub, DownloadsInParallel) {
  hub_.files["model.safetensors"].chunk_delay_ms = hub_.files["config.json"].chunk_delay_ms = 20;
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer.model"}) {
    hub_.files[name] = {bytes(40000, uint32_t(name[0])), true};
    hub_.files[name].chunk_delay_ms = 20;
  }
  options_.n_parallel = 3;
  const PulledModel model = pull();
  EXPECT_EQ(read_file(model.path / "merges.txt"), hub_.files["merges.txt"].content);
  EXPECT_GE(hub_.cdn().most_at_once(), 2);
  EXPECT_LE(hub_.cdn().most_at_once(), 3);
}

TEST_F(Hub, ReadsAllPagesOfTheListing) {
  hub_.page_size = 2;
  EXPECT_EQ(read_file(pull().path / "model.safetensors"), weights_);
}

TEST_F(Hub, ShardedModelTakesTheShardsOfItsIndex) {
  hub_.files.erase("model.safetensors");
  hub_.files["model.safetensors.index.json"] = {
      R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})"};
  for (const char* name :
       {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "other.safetensors"}) {
    hub_.files[name] = {bytes(1000, uint32_t(name[8])), true};
  }
  const PulledModel model = pull();
  EXPECT_EQ(read_file(model.path / "model-00002-of-00002.safetensors"),
            hub_.files["model-00002-of-00002.safetensors"].content);
  EXPECT_TRUE(fs::exists(model.path / "model-00001-of-00002.safetensors"));
  EXPECT_FALSE(fs::exists(model.path / "other.safetensors"));
  fs::remove(model.path / "model-00001-of-00002.safetensors");
  EXPECT_FALSE(cached_model("org/model", options_));
  EXPECT_EQ(pull().n_received_bytes, 1000u);  // only what is missing
  EXPECT_TRUE(cached_model("org/model", options_));
}

TEST_F(Hub, GgufByQuantisationAndTwoOfOneCommit) {
  hub_.files.clear();
  hub_.files["m-Q4_0.gguf"] = {bytes(5000, 4), true};
  hub_.files["big/m-Q8_0-00001-of-00002.gguf"] = {bytes(6000, 8), true};
  hub_.files["big/m-Q8_0-00002-of-00002.gguf"] = {bytes(7000, 9), true};
  EXPECT_HAS(refusal(ErrorKind::kNotFound), "m-Q4_0.gguf");
  EXPECT_HAS(refusal(ErrorKind::kNotFound, "org/model:Q5_K"), "Q5_K");
  const PulledModel small = pull("org/model:q4_0");
  EXPECT_EQ(small.path, model_dir() / hub_.commit / "m-Q4_0.gguf");
  EXPECT_FALSE(cached_model("org/model:Q8_0", options_));
  const PulledModel big = pull("org/model:Q8_0");
  EXPECT_EQ(big.path, model_dir() / hub_.commit / "big/m-Q8_0-00001-of-00002.gguf");
  EXPECT_EQ(big.n_received_bytes, 13000u);
  EXPECT_EQ(read_file(big.snapshot / "big/m-Q8_0-00002-of-00002.gguf"), bytes(7000, 9));
  EXPECT_EQ(cached_model("org/model:q4_0", options_)->path, small.path);
  EXPECT_FALSE(fs::exists(model_dir() / (hub_.commit + ".new")));
}

TEST_F(Hub, FileNameThatWouldLeaveTheFolderIsRefused) {
  hub_.files["../../../evil.json"] = {"x"};
  EXPECT_HAS(refusal(ErrorKind::kFormat), "../../../evil.json");
  EXPECT_TRUE(hub_.cdn().requests().empty());
}

TEST_F(Hub, ModelThatDoesNotFitIsRefusedBeforeTheDownload) {
  hub_.files["model.safetensors"].size = uint64_t{1} << 60;
  EXPECT_HAS(refusal(ErrorKind::kIo), "HUNCH_HOME");
  EXPECT_TRUE(hub_.cdn().requests().empty());
}

TEST_F(Hub, SaysWhatIsMissing) {
  EXPECT_HAS(refusal(ErrorKind::kNotFound, "org/nothing"), "HF_TOKEN");  // the hub says 401 to strangers
  EXPECT_HAS(refusal(ErrorKind::kNotFound, "org/model@v9"), "no revision 'v9'");
  EXPECT_HAS(refusal(ErrorKind::kNotFound, "org/model:x.gguf"), "x.gguf");
  hub_.names_errors = false;  // a mirror
  EXPECT_HAS(refusal(ErrorKind::kNotFound, "org/nothing"), "no model 'org/nothing'");
  EXPECT_HAS(refusal(ErrorKind::kNotFound, "org/model@v9"), "no revision 'v9'");
}

TEST_F(Hub, SaysWhatIsClosed) {
  hub_.api_faults = {Reply{403, {{"X-Error-Code", "GatedRepo"}}, ""}};
  const std::string gated = refusal(ErrorKind::kNetwork);
  EXPECT_HAS(gated, "gated");
  EXPECT_HAS(gated, hub_.url() + "/org/model");
  EXPECT_HAS(gated, "HF_TOKEN");
  hub_.api_faults = {Reply{401, {}, ""}};
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "HF_TOKEN");
  hub_.files["model.safetensors"].faults = {Reply{403, {}, ""}};  // gated models list their files to everyone
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "model.safetensors");
}

TEST_F(Hub, RepeatsWhatTheHubSaysWithoutItsControlCharacters) {
  hub_.api_faults = {Reply{418, {{"X-Error-Message", "short\x1b[2J and stout"}}, ""}};
  EXPECT_HAS(refusal(ErrorKind::kNetwork), ": short?[2J and stout");
}

TEST_F(Hub, OfflineUsesTheCacheAndNothingElse) {
  options_.offline = true;
  EXPECT_HAS(refusal(ErrorKind::kNotFound), "offline");
  EXPECT_TRUE(hub_.hub().requests().empty());
  options_.offline = false;
  const PulledModel model = pull();
  hub_.stop();
  options_.offline = true;
  EXPECT_EQ(pull().path, model.path);
  EXPECT_EQ(cached_model("org/model", options_)->path, model.path);
  fs::resize_file(model.path / "model.safetensors", 5);
  EXPECT_HAS(refusal(ErrorKind::kNotFound), "completely");
}

TEST_F(Hub, UnreachableHubFallsBackToTheCacheWithANote) {
  const PulledModel model = pull();
  hub_.stop();
  notes_.clear();
  EXPECT_EQ(pull().path, model.path);
  EXPECT_HAS(notes_, "pulled earlier");
  fs::remove_all(home_);
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "cannot connect");
}

TEST_F(Hub, UnknownHostIsNamed) {
  const std::string host(64, 'x');  // a label of more than 63 letters is refused before any server is asked
  options_.endpoint = "http://" + host;
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "cannot find the host '" + host);
}

TEST_F(Hub, AStopLeavesPartsThatTheNextCallResumes) {
  Stop stop, others;
  options_.stop = &stop;
  others.request();                                     // is not asked
  hub_.files["model.safetensors"].chunk_delay_ms = 40;  // 0.8 s in all
  on_progress_ = [&](uint64_t done) {
    if (done > 40000) stop.request();
  };
  EXPECT_HAS(refusal(ErrorKind::kInterrupted), "resumes");
  EXPECT_FALSE(fs::exists(model_dir() / hub_.commit));
  const uint64_t n_kept = fs::file_size(part("model.safetensors"));
  EXPECT_GT(n_kept, 0u);
  EXPECT_LT(n_kept, weights_.size());
  on_progress_ = {};
  stop.clear();
  hub_.files["model.safetensors"].chunk_delay_ms = 0;
  EXPECT_EQ(read_file(pull().path / "model.safetensors"), weights_);
  EXPECT_EQ(range("model.safetensors", 1), "bytes=" + std::to_string(n_kept) + "-");
}

TEST_F(Hub, AStopEndsQuestionsAndWaits) {
  Stop stop;
  options_.stop = &stop;
  stop.request();
  refusal(ErrorKind::kInterrupted);
  stop.clear();
  options_.backoff_s = 30;
  hub_.api_faults = {Reply{503, {}, ""}};
  options_.note = [&](std::string_view) { stop.request(); };  // told before it waits for half a minute
  refusal(ErrorKind::kInterrupted);
}

TEST_F(Hub, TwoPullsOfOneModelShareOneDownload) {
  hub_.files["model.safetensors"].chunk_delay_ms = 10;
  PullOptions quiet = options_;  // callbacks of this fixture are for one thread
  quiet.progress = {};
  quiet.note = {};
  PulledModel models[2];
  std::thread other([&] { models[1] = pull_model("org/model", quiet); });
  models[0] = pull_model("org/model", quiet);
  other.join();
  EXPECT_EQ(models[0].path, models[1].path);
  EXPECT_EQ(read_file(models[0].path / "model.safetensors"), weights_);
  EXPECT_EQ(hub_.content_requests("model.safetensors").size(), 1u);
}

TEST_F(Hub, AbandonedProgressStopsTheWorkers) {
  hub_.files["model.safetensors"].chunk_delay_ms = 40;
  on_progress_ = [](uint64_t) { throw std::runtime_error("the terminal is gone"); };
  EXPECT_THROW(pull(), std::runtime_error);
}

TEST_F(Hub, FollowsARenamedModel) {
  hub_.api_faults = {Reply{307, {{"Location", "/api/models/org/model/revision/main"}}, ""}};
  HubServer server;
  server.endpoint = hub_.url();
  EXPECT_EQ(HubApi(server).commit("old/name", "main"), hub_.commit);
}

TEST_F(Hub, EndlessRedirectsEnd) {
  for (int i = 0; i < 20; i++) hub_.api_faults.push_back({302, {{"Location", "/api/x"}}, ""});
  EXPECT_HAS(refusal(ErrorKind::kNetwork), "redirects more than");
}

TEST_F(Hub, TokenThatWouldAddAHeaderIsRefused) {
  options_.token = "hf_x\r\nHost: evil";
  EXPECT_THROW(pull(), Error);
  EXPECT_TRUE(hub_.hub().requests().empty());
}

TEST_F(Hub, OptionsComeFromTheEnvironment) {
  const std::vector<const char*> names = {"HUNCH_HOME",    "HF_ENDPOINT", "HF_TOKEN",
                                          "HF_TOKEN_PATH", "HF_HOME",     "HF_HUB_OFFLINE"};
  const std::string old_home = std::getenv("HOME") ? std::getenv("HOME") : "";
  for (const char* name : names) unsetenv(name);
  setenv("HOME", home_.c_str(), 1);
  write(home_ / ".cache/huggingface/token", "hf_file\n");
  PullOptions options = pull_options_from_environment();
  EXPECT_EQ(options.home, home_ / ".cache/hunch");
  EXPECT_EQ(options.endpoint, "https://huggingface.co");
  EXPECT_EQ(options.token, "hf_file");
  EXPECT_FALSE(options.offline);
  setenv("HUNCH_HOME", "/h", 1);
  setenv("HF_ENDPOINT", "http://e", 1);
  setenv("HF_TOKEN", "t", 1);
  setenv("HF_HUB_OFFLINE", "1", 1);
  options = pull_options_from_environment();
  EXPECT_EQ(options.home, "/h");
  EXPECT_EQ(options.endpoint, "http://e");
  EXPECT_EQ(options.token, "t");
  EXPECT_TRUE(options.offline);
  for (const char* name : names) unsetenv(name);
  setenv("HOME", old_home.c_str(), 1);
}

}  // namespace
}  // namespace hunch
