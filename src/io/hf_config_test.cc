#include "io/hf_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/test_errors.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

// What the rest of hunch reads, of a config in other words.
Json normalised(const char* text) { return Json::parse(normalised_hf_config(text)); }

TEST(HfConfig, RopeParametersBecomeTheOlderKeys) {
  EXPECT_EQ(normalised(R"({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}, "rope_scaling": {"a": 1}})"),
            Json::parse(R"({"rope_scaling": null, "rope_theta": 5e5})"));
  EXPECT_EQ(normalised(R"({"rope_parameters": {"rope_theta": 10.0, "rope_type": "yarn", "factor": 4.0,
                           "partial_rotary_factor": 0.5}, "rope_theta": 3.0})"),
            Json::parse(R"({"rope_theta": 10.0, "partial_rotary_factor": 0.5,
                           "rope_scaling": {"rope_type": "yarn", "factor": 4.0}})"));
}

TEST(HfConfig, RopeParametersOfKindsOfLayers) {
  EXPECT_EQ(normalised(R"({"rope_parameters": {
              "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
              "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}}})"),
            Json::parse(R"({"rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                           "rope_local_base_freq": 1e4})"));
  const std::string message = message_of(ErrorKind::kUnsupported, [] {
    normalised(R"({"rope_parameters": {"full_attention": {"rope_theta": 1e6},
                   "sliding_attention": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0}}})");
  });
  EXPECT_NE(message.find("sliding attention"), message.npos) << message;
  const std::string partial = message_of(ErrorKind::kUnsupported, [] {
    normalised(R"({"rope_parameters": {"full_attention": {"rope_theta": 1e6},
                   "sliding_attention": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}})");
  });
  EXPECT_NE(partial.find("(0.5)"), partial.npos) << partial;
}

TEST(HfConfig, TheLanguageModelOfOneThatAlsoSees) {
  EXPECT_EQ(normalised(R"({"model_type": "llava", "vision_config": {"hidden_size": 9},
                           "text_config": {"model_type": "llama", "hidden_size": 8}})"),
            Json::parse(R"({"model_type": "llama", "vision_config": {"hidden_size": 9}, "hidden_size": 8})"));
}

TEST(HfConfig, PythonsNumbers) {
  const Json config = normalised(R"({"a": Infinity, "b": [-Infinity, NaN], "c": "NaN \" Infinity", "d\\": 1})");
  EXPECT_GT(config["a"].get<double>(), 1e308);
  EXPECT_LT(config["b"][0].get<double>(), -1e308);
  EXPECT_TRUE(config["b"][1].is_null());
  EXPECT_EQ(config["c"], "NaN \" Infinity");
  EXPECT_EQ(config["d\\"], 1);
}

TEST(HfConfig, WhatIsNoJsonIsSaidWithItsPlace) {
  EXPECT_EQ(message_of(ErrorKind::kFormat, [] { normalised("{\n  \"a\": 1,\n  \"b\": }"); }),
            "config.json is not valid JSON: line 3, column 8");
  EXPECT_EQ(message_of(ErrorKind::kFormat, [] { normalised(""); }), "config.json is not valid JSON: line 1, column 1");
  EXPECT_EQ(message_of(ErrorKind::kFormat, [] { normalised("[1]"); }), "config.json is not a JSON object");
}

}  // namespace
}  // namespace hunch
