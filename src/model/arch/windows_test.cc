// Which layers see a window: what configs say in several ways.
#include <gtest/gtest.h>

#include "io/test_errors.h"
#include "model/arch/test_folder.h"

namespace hunch {
namespace {

using Windows = std::vector<size_t>;

TestFolder llama_like(const std::string& more) {
  TestFolder f(R"({"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12,
                   "rms_norm_eps": 1e-5, "tie_word_embeddings": true)" +
               more + "}");
  f.add("model.embed_tokens.weight", {11, 8}).add("model.norm.weight", {8});
  for (size_t i = 0; i < 3; ++i) {
    const std::string l = fmt::format("model.layers.{}.", i);
    for (const char* name : {"q", "k", "v"}) f.add_with_bias(l + "self_attn." + name + "_proj", {8, 8});
    f.add(l + "self_attn.o_proj.weight", {8, 8});
    f.add(l + "mlp.gate_proj.weight", {12, 8}).add(l + "mlp.up_proj.weight", {12, 8});
    f.add(l + "mlp.down_proj.weight", {8, 12});
    f.add(l + "input_layernorm.weight", {8}).add(l + "post_attention_layernorm.weight", {8});
  }
  return f;
}

Windows windows(const char* model_type, const std::string& more) {
  return config_from_gguf(llama_like(more).import(model_type)).windows;
}

TEST(Windows, OfQwenCountOnlyWhereTheConfigSaysSo) {
  EXPECT_EQ(windows("qwen2", R"(, "sliding_window": 4)"), Windows());
  EXPECT_EQ(windows("qwen2", R"(, "sliding_window": 4, "use_sliding_window": false)"), Windows());
  EXPECT_EQ(windows("qwen2", R"(, "sliding_window": 4, "use_sliding_window": true)"), (Windows{4, 4, 4}));
  EXPECT_EQ(windows("qwen2", R"(, "sliding_window": 4, "use_sliding_window": true, "max_window_layers": 2)"),
            (Windows{0, 0, 4}));
  EXPECT_EQ(windows("qwen2", R"(, "sliding_window": null, "use_sliding_window": true)"), Windows());
}

TEST(Windows, OfMistralCountWhereTheConfigIsSilent) {
  EXPECT_EQ(windows("mistral", R"(, "sliding_window": 4)"), (Windows{4, 4, 4}));
  EXPECT_EQ(windows("mistral", ""), Windows());
}

TEST(Windows, TypesOfLayersDecide) {
  const std::string kinds = R"(, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"])";
  EXPECT_EQ(windows("qwen2", kinds + R"(, "sliding_window": 4)"), (Windows{4, 0, 4}));
  EXPECT_EQ(windows("mistral", kinds + R"(, "sliding_window": 4, "use_sliding_window": false)"), (Windows{4, 0, 4}));
  EXPECT_EQ(windows("mistral", R"(, "sliding_window": 4, "layer_types": ["full_attention", "full_attention",
                                  "full_attention"])"),
            Windows());
  const auto refused = [&](ErrorKind kind, const std::string& more, const char* says) {
    const std::string message = message_of(kind, [&] { windows("qwen2", more); });
    EXPECT_NE(message.find(says), message.npos) << message;
  };
  refused(ErrorKind::kFormat, kinds, "no sliding_window");
  refused(ErrorKind::kFormat, R"(, "layer_types": ["full_attention"])", "1 entries, expected one for each of 3");
  refused(ErrorKind::kUnsupported, R"(, "layer_types": ["full_attention", "full_attention", "chunked_attention"])",
          "chunked_attention");
}

TEST(Windows, PatternsOfLayersDecideWhereNoTypesDo) {
  EXPECT_EQ(windows("mistral", R"(, "sliding_window": 4, "sliding_window_pattern": 2)"), (Windows{4, 0, 4}));
  EXPECT_EQ(windows("mistral", R"(, "sliding_window": 4, "sliding_window_pattern": "LLG")"), (Windows{4, 4, 0}));
  EXPECT_EQ(windows("mistral", R"(, "sliding_window": 4, "sliding_window_pattern": "LG", "layer_types":
                                  ["full_attention", "sliding_attention", "sliding_attention"])"),
            (Windows{0, 4, 4}));
  EXPECT_EQ(windows("mistral", R"(, "sliding_window": null, "sliding_window_pattern": "LLG")"), Windows());
}

TEST(RopeLayers, AreThoseOfTheConfigOrTheUsualOnes) {
  const auto rotating = [&](const char* model_type, const std::string& more) {
    std::vector<bool> rotates;
    for (const LayerConfig& l : config_from_gguf(llama_like(more).import(model_type)).layers)
      rotates.push_back(l.rotates);
    return rotates;
  };
  using Layers = std::vector<bool>;
  EXPECT_EQ(rotating("llama", ""), (Layers{true, true, true}));
  EXPECT_EQ(rotating("smollm3", R"(, "no_rope_layers": [0, 1, 0])"), (Layers{false, true, false}));
  EXPECT_EQ(rotating("smollm3", ""), (Layers{true, true, true}));  // the fourth would not
  const std::string message =
      message_of(ErrorKind::kFormat, [&] { rotating("smollm3", R"(, "no_rope_layers": [1])"); });
  EXPECT_NE(message.find("1 entries, expected one for each of 3"), message.npos) << message;
  EXPECT_NE(
      message_of(ErrorKind::kFormat, [&] { rotating("smollm3", R"(, "no_rope_layers": [1, "x", 1])"); }).find("0 or 1"),
      message.npos);
}

TEST(Windows, LayersWithOneMayHaveARopeOfTheirOwn) {
  const ModelConfig c = config_from_gguf(llama_like(R"(, "sliding_window": 4, "rope_local_base_freq": 100.0,
      "layer_types": ["sliding_attention", "full_attention", "sliding_attention"])")
                                             .import("qwen2"));
  ASSERT_EQ(c.more_ropes.size(), 1u);
  EXPECT_EQ(c.more_ropes[0].base, 100);
  EXPECT_EQ(c.layers[0].rope, 1u);
  EXPECT_EQ(c.layers[1].rope, 0u);
}

}  // namespace
}  // namespace hunch
