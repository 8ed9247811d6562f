// The table of short names, and that a pull takes them: from the test hub.
#include "hub/short_names.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "hub/hub.h"
#include "hub/id.h"
#include "hub/lower.h"
#include "hub/test_server.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

TEST(ShortNames, EachStandsForAnIdOfTheHubAndLooksLikeNone) {
  std::set<std::string_view> names, ids;
  for (const ShortName& name : short_names()) {
    EXPECT_NO_THROW(parse_hub_id(name.id)) << name.id;
    EXPECT_TRUE(looks_like_hub_id(name.id)) << name.id;
    EXPECT_FALSE(looks_like_hub_id(name.name)) << name.name;
    EXPECT_EQ(lower(name.name), name.name);
    EXPECT_TRUE(names.insert(name.name).second) << name.name << " is there twice";
    EXPECT_TRUE(ids.insert(name.id).second) << name.id << " is there twice";
    EXPECT_TRUE(name.size.ends_with(" GB")) << name.name;
  }
  EXPECT_GE(names.size(), 30u);
}

TEST(ShortNames, AreFoundInAnyCaseAndWholeOnly) {
  EXPECT_EQ(expand_short_name("Qwen3:0.6B"), "Qwen/Qwen3-0.6B-GGUF:Q8_0");
  EXPECT_EQ(expand_short_name("qwen3:0.6"), "qwen3:0.6");
  EXPECT_EQ(expand_short_name("facebook/opt-125m"), "facebook/opt-125m");
  EXPECT_EQ(find_short_name(""), nullptr);
}

TEST(ShortNames, APullTakesThem) {
  setenv("NO_PROXY", "127.0.0.1,localhost", 1);
  test::FakeHub hub;
  hub.repo = "Qwen/Qwen3-0.6B-GGUF";
  hub.files["README.md"] = {"not needed"};
  hub.files["Qwen3-0.6B-Q8_0.gguf"] = {"GGUF eight", true};
  hub.files["Qwen3-0.6B-Q4_K_M.gguf"] = {"GGUF four", true};
  PullOptions options;
  options.endpoint = hub.url();
  options.home = fs::path(testing::TempDir()) / ("hunch_short_names_" + std::to_string(getpid()));
  fs::remove_all(options.home);
  EXPECT_FALSE(cached_model("qwen3:0.6b", options));
  const PulledModel model = pull_model("qwen3:0.6b", options);
  EXPECT_EQ(model.path.filename(), "Qwen3-0.6B-Q8_0.gguf");
  EXPECT_EQ(model.repo, hub.repo);
  EXPECT_EQ(cached_model("QWEN3:0.6b", options)->path, model.path);
  EXPECT_EQ(cached_model("Qwen/Qwen3-0.6B-GGUF:q8_0", options)->path, model.path);
  EXPECT_FALSE(fs::exists(model.snapshot / "Qwen3-0.6B-Q4_K_M.gguf"));
  fs::remove_all(options.home);
}

}  // namespace
}  // namespace hunch
