// Tools in conversations: templates that take them, and templates that do not.
#include "text/tool_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/test_paths.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

const char* const kMessages = R"([
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Ulm\"}"}},
        {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "dry"},
    {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
    {"role": "user", "content": "Sure?"}])";
const char* const kTools =
    R"([{"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])";

ChatText text_of(const std::string& source) {
  ChatText text;
  text.source = source;
  return text;
}

std::string render(const std::string& source, const char* tools = kTools) {
  const ChatText text = text_of(source);
  return render_with_tools(text, tool_template(text), Json::parse(kMessages), Json::parse(tools), Json::object());
}

TEST(ToolTemplate, WithoutAPlaceForToolsTheyAreToldInWords) {
  const std::string plain = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}";
  const ToolTemplate how = tool_template(text_of(plain));
  EXPECT_FALSE(how.takes_tools);
  EXPECT_EQ(how.syntax->name, "Hermes");
  const std::string told = render(plain);
  EXPECT_TRUE(told.starts_with("[system] You can call functions.")) << told;
  EXPECT_NE(told.find(R"({"name":"weather","description":"","parameters":{"type":"object")"), told.npos) << told;
  EXPECT_TRUE(told.ends_with(R"([user] Rain?
[assistant] <tool_call>
{"name": "weather", "arguments": {"city": "Ulm"}}
</tool_call>
<tool_call>
{"name": "now", "arguments": {}}
</tool_call>
[user] <tool_response>
dry
</tool_response>
<tool_response>
noon
</tool_response>
[user] Sure?
)")) << told;
  EXPECT_FALSE(render(plain, "[]").starts_with("[system]"));
}

TEST(ToolTemplate, ArgumentsAreTextsOrObjectsAsTheTemplateWants) {
  const std::string head = "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{% for m in messages %}";
  const std::string tail = "{% endfor %}";
  const auto with = [&](const std::string& call) {
    return head + "{% for c in m.tool_calls or [] %}<tool_call>" + call + "{% endfor %}" + tail;
  };
  const std::string as_object = with("{{ c.function.arguments | tojson }}");
  EXPECT_FALSE(tool_template(text_of(as_object)).arguments_as_text);
  EXPECT_EQ(render(as_object), "weather<tool_call>{\"city\": \"Ulm\"}<tool_call>{}");
  const std::string joined = with("{{ 'x' + c.function.arguments }}");
  EXPECT_TRUE(tool_template(text_of(joined)).arguments_as_text);
  EXPECT_EQ(render(joined), "weather<tool_call>x{\"city\": \"Ulm\"}<tool_call>x{}");
  const std::string shown = with("{{ c.function.arguments }}");
  EXPECT_TRUE(tool_template(text_of(shown)).arguments_as_text);
  const std::string items = with("{% for k, v in c.function.arguments.items() %}<k>{{ k }}</k>{% endfor %}");
  EXPECT_FALSE(tool_template(text_of(items)).arguments_as_text);
}

TEST(ToolTemplate, IdsBecomeThoseThatMistralWants) {
  Json messages = Json::parse(kMessages);
  shorten_call_ids(messages);
  const std::string id = messages[1]["tool_calls"][0]["id"];
  EXPECT_EQ(id.size(), 9u);
  EXPECT_EQ(messages[2]["tool_call_id"], id);
  EXPECT_NE(messages[3]["tool_call_id"], id);
  Json again = messages;
  shorten_call_ids(again);
  EXPECT_EQ(again, messages);
}

// Published templates: which family each is of, whether it takes tools, and that a conversation with calls renders.
TEST(ToolTemplate, PublishedTemplatesRenderCalls) {
  const auto dir = shared_path("templates/jinja");
  if (!dir) GTEST_SKIP() << "no shared/templates/jinja";
  const std::map<std::string, std::pair<std::string, bool>> expected = {
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", {"Hermes", false}},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", {"Hermes", false}},
      {"Qwen-Qwen2.5-7B-Instruct", {"Hermes", false}},
      {"meta-llama-Llama-3.1-8B-Instruct", {"Llama 3", false}},
      {"meta-llama-Llama-3.2-3B-Instruct", {"Llama 3", false}},
      {"mistralai-Mistral-Nemo-Instruct-2407", {"Mistral", false}},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", {"Command", false}},
      {"meetkai-functionary-medium-v3.1", {"Functionary", true}},
  };
  for (const auto& [name, what] : expected) {
    std::ifstream in(*dir / (name + ".jinja"));
    std::stringstream source;
    source << in.rdbuf();
    ChatText text = text_of(source.str());
    text.options.bos_token = "<s>";
    text.options.eos_token = "</s>";
    const ToolTemplate how = tool_template(text);
    EXPECT_TRUE(how.takes_tools) << name;
    EXPECT_EQ(how.syntax->name, what.first) << name;
    EXPECT_EQ(how.arguments_as_text, what.second) << name;
    Json messages = Json::parse(kMessages);
    if (how.syntax->name == "Llama 3") messages[1]["tool_calls"].erase(1);  // its template takes one call a message
    messages.erase(4);
    const std::string out = render_with_tools(text, how, messages, Json::parse(kTools), Json::object());
    EXPECT_NE(out.find("Ulm"), out.npos) << name << "\n" << out;
    EXPECT_NE(out.find("dry"), out.npos) << name << "\n" << out;
  }
}

}  // namespace
}  // namespace hunch
