// What DeepSeek's configs say of scaling and groups besides what the goldens' do.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/hf_folder.h"
#include "model/architecture.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

// The fixture's config, changed: mixtures of 3 groups, of which 2 are chosen; YaRN by 4.
ModelConfig config_of(const std::function<void(Json&)>& change) {
  HfFolder folder = open_hf_folder(golden_fixture("tiny_deepseek3"));
  Json json = Json::parse(folder.config_json);
  change(json);
  folder.config_json = json.dump();
  const Architecture& arch = architecture_by_hf_type(json["model_type"].get<std::string>());
  HfImport hf(folder, arch.gguf_name);
  arch.import_hf(hf);
  const ModelFile file = hf.finish();
  return arch.config_from_gguf(file);
}

double stretch(double multiplier) { return 0.1 * multiplier * std::log(4.0) + 1; }

TEST(DeepSeek, MultipliesRotationsByWhatBothStretchesSay) {
  const auto with = [](Json scaling) {
    return config_of([&](Json& json) {
             json["rope_scaling"].erase("mscale");
             json["rope_scaling"].erase("mscale_all_dim");
             json["rope_scaling"].update(scaling);
           })
        .rope.attn_factor;
  };
  EXPECT_NEAR(with({{"mscale", 1.0}, {"mscale_all_dim", 1.0}}), 1, 1e-6);
  EXPECT_NEAR(with({{"mscale", 0.7}, {"mscale_all_dim", 1.0}}), stretch(0.7) / stretch(1), 1e-6);
  EXPECT_NEAR(with(Json::object()), stretch(1), 1e-6);
  EXPECT_NEAR(with({{"mscale", 0.7}, {"mscale_all_dim", 1.0}, {"attention_factor", 1.25}}), 1.25, 1e-6);
}

TEST(DeepSeek, GreedyChoiceKnowsNoGroups) {
  const auto moe_with = [](const char* method) {
    const ModelConfig c = config_of([&](Json& json) { json["topk_method"] = method; });
    return c.moe;
  };
  EXPECT_EQ(moe_with("noaux_tc").gate().n_group, 3u);
  EXPECT_EQ(moe_with("greedy").gate().n_group, 1u);
}

}  // namespace
}  // namespace hunch
