// The config of every golden model in the words of other years: whoever wrote it, the model is the same, tensor by
// tensor and key by key, and so are its logits (golden_test.cc has these).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/test_paths.h"
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
  if (config.contains("rope_parameters")) return;
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

// The other way round, but for those that have one for each kind of layers, which older configs could not say.
void to_old_keys(Json& config) {
  if (!config.contains("rope_parameters") || !config["rope_parameters"].contains("rope_type")) return;
  Json rope = config["rope_parameters"];
  config.erase("rope_parameters");
  for (const char* key : {"rope_theta", "partial_rotary_factor"})
    if (rope.contains(key)) {
      config[key] = rope[key];
      rope.erase(key);
    }
  if (rope["rope_type"] == "default" && rope.size() == 1) return;
  rename(rope, "rope_type", "type");
  config["rope_scaling"] = rope;
}

struct Respelling {
  const char* name;
  void (*respell)(Json&);
  bool nests = false;
};
const Respelling kRespellings[] = {
    {"RopeParameters", to_rope_parameters},
    {"OldKeys", to_old_keys},
    {"Dtype", [](Json& c) { rename(c, "torch_dtype", "dtype"); }},
    {"TextConfig",
     [](Json& c) {
       Json outer = {{"model_type", c["model_type"]}, {"vision_config", {{"hidden_size", 7}}}, {"text_config", c}};
       c = outer;
     },
     true},
    {"Both",
     [](Json& c) {
       to_rope_parameters(c);
       c = {{"text_config", c}, {"model_type", "something_that_sees"}, {"vocab_size", 12345}};
     },
     true},
};

class Respelt : public ::testing::TestWithParam<fs::path> {};

// Those of the repository, and all of the shared data's where it is here.
std::vector<fs::path> golden_models() {
  std::vector<fs::path> folders = {fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden"}, models;
  for (const char* name : {"golden/models", "golden/models2"})
    if (const auto shared = shared_path(name)) folders.push_back(*shared);
  for (const fs::path& folder : folders)
    for (const auto& entry : fs::directory_iterator(folder))
      if (fs::exists(entry.path() / "config.json")) models.push_back(entry.path());
  std::ranges::sort(models);
  return models;
}

// "models2_gemma3n".
std::string name_of(const fs::path& model) {
  return model.parent_path().filename().string() + "_" + model.filename().string();
}

TEST_P(Respelt, ConfigsGiveTheSameModel) {
  const fs::path& folder = GetParam();
  const OpenedModel plain = open_model(folder);
  EXPECT_EQ(plain.unread, std::vector<std::string>()) << "of its own config";
  for (const Respelling& r : kRespellings) {
    SCOPED_TRACE(r.name);
    const TempDir copy(fmt::format("respelt-{}", name_of(folder)));
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().filename() != "golden")
        fs::create_symlink(fs::absolute(entry.path()), copy.path / entry.path().filename());
    std::string text = read_file(folder / "config.json");
    for (size_t at = 0; (at = text.find("Infinity", at)) != text.npos;) text.replace(at, 8, "1.7976931348623157e308");
    Json config = Json::parse(text);
    const bool nested = config.contains("text_config");  // it is one that sees already
    if (nested && r.nests) continue;
    r.respell(nested ? config["text_config"] : config);
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

INSTANTIATE_TEST_SUITE_P(Golden, Respelt, ::testing::ValuesIn(golden_models()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace hunch
