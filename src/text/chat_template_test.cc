#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/test_paths.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

TEST(ChatTemplate, RendersEveryPublishedCase) {
  const auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "shared/templates/cases.json is not here";
  const Json data = Json::parse(read_file(*shared / "templates/cases.json"));
  // The one template whose model has special tokens beyond BOS and EOS.
  const Json gigachat = {{"bos_token", "<s>"},
                         {"additional_special_tokens", {"<|role_sep|>", "<|message_sep|>", "[", "]"}}};
  for (const Json& c : data["cases"]) {
    const std::string name = c["name"];
    TemplateOptions options;
    options.bos_token = c["bos_token"];
    options.eos_token = c["eos_token"];
    options.add_generation_prompt = data["add_generation_prompt"];
    options.flavor = TemplateOptions::Flavor::kLlamaCpp;
    const std::string source = c["template"];
    if (source.find("additional_special_tokens") != std::string::npos) options.extra = &gigachat;
    EXPECT_EQ(apply_chat_template(source, data["messages"], options), c["expected_jinja"].get<std::string>()) << name;
  }
}

}  // namespace
}  // namespace hunch
