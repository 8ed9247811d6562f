// The config of every golden model in the words of other years: whoever wrote it, the model is the same, tensor by
// tensor and key by key.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "io/test_bytes.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void rename(Json& config, const char* from, const char* to) {
  if (!config.contains(from)) return;
  config[to] = config[from];
  config.erase(from);
}

// transformers 5: one dictionary for all of RoPE.
void to_rope_parameters(Json& config) {
  Json rope = Json::object();
  if (config.contains("rope_scaling") && config["rope_scaling"].is_object()) rope = config["rope_scaling"];
  rename(rope, "type", "rope_type");
  for (const auto& [from, to] : {std::pair("rope_theta", "rope_theta"),
                                 {"rotary_emb_base", "rope_theta"},
                                 {"partial_rotary_factor", "partial_rotary_factor"},
                                 {"rotary_pct", "partial_rotary_factor"}})
    if (config.contains(from)) {
      rope[to] = config[from];
      config.erase(from);
    }
  config.erase("rope_scaling");
  if (rope.empty()) return;
  if (!rope.contains("rope_type")) rope["rope_type"] = "default";
  config["rope_parameters"] = rope;
}

struct Respelling {
  const char* name;
  void (*respell)(Json&);
};
const Respelling kRespellings[] = {
    {"RopeParameters", to_rope_parameters},
    {"Dtype", [](Json& c) { rename(c, "torch_dtype", "dtype"); }},
    {"TextConfig",
     [](Json& c) {
       Json outer = {{"model_type", c["model_type"]}, {"vision_config", {{"hidden_size", 7}}}, {"text_config", c}};
       c = outer;
     }},
    {"Both",
     [](Json& c) {
       to_rope_parameters(c);
       c = {{"text_config", c}, {"model_type", "something_that_sees"}, {"vocab_size", 12345}};
     }},
};

class Respelt : public ::testing::TestWithParam<std::string> {};

std::vector<std::string> fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden"))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

TEST_P(Respelt, ConfigsGiveTheSameModel) {
  const fs::path folder = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / GetParam();
  const OpenedModel plain = open_model(folder);
  EXPECT_EQ(plain.unread, std::vector<std::string>()) << "of its own config";
  for (const Respelling& r : kRespellings) {
    SCOPED_TRACE(r.name);
    const TempDir copy(fmt::format("respelt-{}", GetParam()));
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file()) fs::create_symlink(fs::absolute(entry.path()), copy.path / entry.path().filename());
    Json config = Json::parse(read_file(folder / "config.json"));
    if (config.contains("text_config")) continue;  // it is one that sees already
    r.respell(config);
    fs::remove(copy.path / "config.json");
    std::ofstream(copy.path / "config.json") << config.dump();
    const OpenedModel again = open_model(copy.path);
    EXPECT_EQ(again.unread, std::vector<std::string>());
    ASSERT_EQ(again.file.tensors.size(), plain.file.tensors.size());
    for (const Tensor& t : plain.file.tensors) {
      const Tensor* same = again.file.find(t.name);
      ASSERT_TRUE(same && same->shape == t.shape && same->data.size() == t.data.size()) << t.name;
      EXPECT_EQ(std::memcmp(same->data.data(), t.data.data(), t.data.size()), 0) << t.name;
    }
    std::vector<std::string> keys = plain.file.meta.keys();
    std::erase(keys, "general.name");  // the folder's
    for (const std::string& key : keys) {
      ASSERT_TRUE(again.file.meta.has(key)) << key;
      EXPECT_EQ(*again.file.meta.find(key), *plain.file.meta.find(key)) << key;
    }
    EXPECT_EQ(again.file.meta.keys().size(), plain.file.meta.keys().size());
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Respelt, ::testing::ValuesIn(fixtures()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace hunch
