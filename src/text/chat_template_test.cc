#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

const Json kUser = {{"role", "user"}, {"content", "Hello"}};
const Json kSystem = {{"role", "system"}, {"content", "Be kind."}};

constexpr const char* kPlain =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}";
constexpr const char* kNoSystem =
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}";
constexpr const char* kDropsSystem =
    "{% for m in messages if m.role == 'user' %}[{{ m.role }}]{{ m.content }}{% endfor %}";

TEST(ChatTemplate, GivesTheTemplateItsVariables) {
  TemplateOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  EXPECT_EQ(apply_chat_template(kPlain, {kSystem, kUser}, options),
            "<s>[system]Be kind.</s>[user]Hello</s>[assistant]");
  options.add_generation_prompt = false;
  EXPECT_EQ(apply_chat_template(kPlain, Json::array({kUser}), options), "<s>[user]Hello</s>");
}

TEST(ChatTemplate, PassesToolsAndExtraVariables) {
  const char* source = "{{ tools is none }}{{ documents is none }}{{ tools | tojson }}{{ enable_thinking is defined }}";
  EXPECT_EQ(apply_chat_template(source, Json::array({kUser})), "TrueTruenullFalse");
  const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  const Json extra = {{"enable_thinking", false}, {"documents", Json::array()}};
  TemplateOptions options;
  options.tools = &tools;
  options.extra = &extra;
  EXPECT_EQ(apply_chat_template(source, Json::array({kUser}), options),
            R"(FalseFalse[{"type": "function", "function": {"name": "f"}}]True)");
}

TEST(ChatTemplate, MergesASystemMessageThatTheTemplateHasNoPlaceFor) {
  const Json messages = {kSystem, kUser, {{"role", "assistant"}, {"content", "Hi"}}};
  EXPECT_EQ(apply_chat_template(kNoSystem, messages), "[user]Be kind.\nHello[assistant]Hi");
  EXPECT_EQ(apply_chat_template(kDropsSystem, messages), "[user]Be kind.\nHello");
  EXPECT_EQ(apply_chat_template(kDropsSystem, Json::array({kSystem})), "[user]Be kind.");
  const Json parts = {kSystem, {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "Hello"}}}}}};
  EXPECT_EQ(
      apply_chat_template("{% for m in messages if m.role == 'user' %}{% for p in m.content %}{{ p.text }}{% endfor %}"
                          "{% endfor %}",
                          parts),
      "Be kind.\nHello");
  TemplateOptions options;
  options.merge_system_message = false;
  EXPECT_EQ(apply_chat_template(kDropsSystem, messages, options), "[user]Hello");
  EXPECT_THROW(apply_chat_template(kNoSystem, messages, options), Error);
}

// Asked with the conversation itself: of parts, of its length, changed on the way.
TEST(ChatTemplate, LeavesASystemMessageThatTheTemplateKeeps) {
  const auto parts = [](const char* text) { return Json::array({{{"type", "text"}, {"text", text}}}); };
  const Json of_parts = {{{"role", "system"}, {"content", parts("Be kind.")}},
                         {{"role", "user"}, {"content", parts("Hello")}}};
  EXPECT_EQ(apply_chat_template("{% for m in messages %}[{{ m.role }}]{% for p in m.content %}{{ p.text }}{% endfor %}"
                                "{% endfor %}",
                                of_parts),
            "[system]Be kind.[user]Hello");
  const Json messages = {kSystem, kUser};
  EXPECT_EQ(apply_chat_template("{% for m in messages %}[{{ m.role }}]{{ m.content | upper }}{% endfor %}", messages),
            "[system]BE KIND.[user]HELLO");
  EXPECT_EQ(apply_chat_template("{% if messages | length > 2 %}{{ raise_exception('long') }}{% endif %}"
                                "{% for m in messages %}{{ m.content }} {% endfor %}",
                                messages),
            "Be kind. Hello ");
}

TEST(ChatTemplate, ArgumentsOfCallsAreObjects) {
  const auto call = [](const Json& arguments) {
    return Json::array(
        {kUser,
         {{"role", "assistant"},
          {"tool_calls", {{{"type", "function"}, {"function", {{"name", "f"}, {"arguments", arguments}}}}}}}});
  };
  const std::string source =
      "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}"
      "{% endfor %}{% endfor %}";
  EXPECT_EQ(apply_chat_template(source, call(R"({"city": "Paris"})")), R"({"city": "Paris"})");
  EXPECT_EQ(apply_chat_template(source, call({{"city", "Paris"}})), R"({"city": "Paris"})");
  EXPECT_EQ(apply_chat_template(source, call("not JSON")), R"("not JSON")");
  EXPECT_EQ(apply_chat_template(source, call("")), "{}");
  EXPECT_EQ(apply_chat_template(source, call(nullptr)), "{}");
  // Parsed, these would be copied by recursion, and end the stack.
  const std::string deep = R"({"a":)" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}";
  EXPECT_EQ(apply_chat_template(source, call(deep)).substr(0, 8), R"("{\"a\":)");
}

TEST(ChatTemplate, ContentComesInTheFormThatTheTemplateTakes) {
  const std::string of_texts = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
  const std::string of_parts =
      "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}"
      "{% endfor %}{% endfor %}";
  const std::string of_both =
      "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% else %}"
      "{% for p in m.content %}[{{ p.type }}: {{ p.text }}]{% endfor %}{% endif %}{% endfor %}";
  const std::string strips = "{% for m in messages %}<{{ m.role }}>{{ '' + m.content.strip() }}{% endfor %}";
  const Json parts = Json::parse(R"([{"role": "system", "content": "Be kind."},
      {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]}])");
  const Json texts =
      Json::parse(R"([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi you"}])");
  for (const Json& messages : {parts, texts})
    for (const std::string& source : {of_texts, of_parts, strips})
      EXPECT_EQ(apply_chat_template(source, messages), "<system>Be kind.<user>Hi you") << source;
  EXPECT_EQ(apply_chat_template(of_both, parts), "<system>Be kind.<user>[text: Hi][text:  you]");
  EXPECT_EQ(apply_chat_template(of_both, texts), "<system>Be kind.<user>Hi you");
  TemplateOptions as_they_are;
  as_they_are.adapt_content = false;
  EXPECT_NE(apply_chat_template(of_texts, parts, as_they_are).find("{'type': 'text'"), std::string::npos);
  // A picture cannot be a text.
  const Json picture =
      Json::parse(R"([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}])");
  EXPECT_EQ(apply_chat_template(of_both, picture), "<user>[image: ][text: ?]");
  // What the template refuses for other reasons is refused in its own words.
  EXPECT_THROW(apply_chat_template("{{ raise_exception('no') }}", parts), Error);
}

TEST(ChatTemplate, MessagesOfCallsAloneHaveNoContent) {
  const Json messages = Json::parse(R"([{"role": "user", "content": "Hi"},
      {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}])");
  EXPECT_EQ(apply_chat_template("{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}", messages), "<Hi><>");
  EXPECT_EQ(apply_chat_template("{% for m in messages %}{{ 'none' if m.content is none else m.content }} {% endfor %}",
                                messages),
            "Hi none ");
}

TEST(ChatTemplate, LlamaCppFlavorDropsOuterTokensAndIndentation) {
  TemplateOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  const char* source = "{{ bos_token }}a\n  {{ messages[0].content }}{{ eos_token }}";
  EXPECT_EQ(apply_chat_template(source, Json::array({kUser}), options), "<s>a\n  Hello</s>");
  options.flavor = TemplateOptions::Flavor::kLlamaCpp;
  EXPECT_EQ(apply_chat_template(source, Json::array({kUser}), options), "a\nHello");
}

std::string error_of(const Json& messages, const std::string& source = kPlain) {
  try {
    apply_chat_template(source, messages);
  } catch (const Error& error) {
    return std::string(name_of(error.kind())) + ": " + error.what();
  }
  return "no error";
}

TEST(ChatTemplate, NamesWhatIsWrongWithMessages) {
  EXPECT_EQ(error_of(Json::parse(R"({"role": "user"})")),
            R"(usage: messages: expected a list of {"role", "content"} objects, found object)");
  EXPECT_EQ(error_of(Json::array()), "usage: messages: the list is empty; a chat needs at least one message");
  EXPECT_EQ(error_of(Json::parse(R"(["hi"])")),
            "usage: messages[0]: expected an object with 'role' and 'content', found string");
  EXPECT_EQ(error_of(Json::parse(R"([{"content": "hi"}])")),
            R"(usage: messages[0]: expected 'role' as a string such as "user" or "assistant")");
  EXPECT_EQ(error_of(Json::parse(R"([{"role": "user", "content": "a"}, {"role": "user"}])")),
            "usage: messages[1] (role 'user'): expected 'content' as text, found none");
  EXPECT_EQ(error_of(Json::parse(R"([{"role": "user", "content": 3}])")),
            "usage: messages[0].content (role 'user'): expected a string or a list of parts, found number");
  EXPECT_EQ(error_of(Json::parse(R"([{"role": "user", "content": ["x"]}])")),
            R"(usage: messages[0].content[0]: expected an object like {"type": "text", "text": "..."})");
  EXPECT_EQ(error_of(Json::parse(R"([{"role": "assistant", "tool_calls": 1}])")),
            "usage: messages[0].tool_calls: expected a list, found number");
  EXPECT_EQ(error_of(Json::array({kUser}), ""),
            "not_found: this model has no chat template; give one of your own (template_file), or use it without chat");
}

TEST(ChatTemplate, RenderTemplateTakesAnObjectOnly) {
  EXPECT_EQ(render_template("{{ a }}", {{"a", 1}}), "1");
  EXPECT_THROW(render_template("{{ a }}", Json::array({1})), Error);
}

}  // namespace
}  // namespace hunch
