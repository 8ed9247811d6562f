// Calls of every family, cut in every place, and what looks like one and is none.
#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ToolPart::Kind;

std::shared_ptr<const std::vector<Tool>> tools() {
  const Json weather = Json::parse(R"({"type": "object", "properties": {
      "city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"},
      "hours": {"type": "array"}, "note": {"type": ["string", "null"]}}})");
  return std::make_shared<std::vector<Tool>>(std::vector<Tool>{{"weather", weather}, {"now", nullptr}});
}

const ToolSyntax& family(std::string_view name) {
  const auto found = std::ranges::find(tool_syntaxes(), name, &ToolSyntax::name);
  EXPECT_NE(found, tool_syntaxes().end()) << name;
  return *found;
}

void join(std::vector<ToolPart>& all, const std::vector<ToolPart>& more) {
  for (const ToolPart& part : more) add_part(all, part.kind, part.text);
}

std::vector<ToolPart> split(const ToolSyntax& syntax, std::vector<std::string_view> pieces) {
  ToolCallSplitter splitter(syntax, tools());
  std::vector<ToolPart> all;
  for (const std::string_view piece : pieces) join(all, splitter.push(piece));
  join(all, splitter.finish());
  return all;
}

// "text|weather({...})|now({})": what the parts say, the arguments in one form.
std::string told(const std::vector<ToolPart>& parts) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!out.empty() && parts[i].kind != Kind::kArguments) out += '|';
    if (parts[i].kind != Kind::kArguments) {
      out += parts[i].text;
      continue;
    }
    const Json json = Json::parse(parts[i].text, nullptr, false);
    out += '(' + (json.is_discarded() ? "broken: " + parts[i].text : json.dump()) + ')';
  }
  return out;
}

// However the text is cut, the same.
std::string told_however_cut(std::string_view name, std::string_view text) {
  const ToolSyntax& syntax = family(name);
  const std::vector<ToolPart> whole = split(syntax, {text});
  for (size_t i = 0; i <= text.size(); ++i)
    EXPECT_EQ(split(syntax, {text.substr(0, i), text.substr(i)}), whole) << name << " cut at " << i << " of " << text;
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  EXPECT_EQ(split(syntax, bytes), whole) << name << ": " << text;
  return told(whole);
}

struct Case {
  const char *family, *text, *expected;
};

class ToolCalls : public testing::TestWithParam<Case> {};

TEST_P(ToolCalls, AreReadHoweverTheTextIsCut) {
  const Case& c = GetParam();
  EXPECT_EQ(told_however_cut(c.family, c.text), c.expected) << c.family << ": " << c.text;
}

const Case kCalls[] = {
    {"Hermes", "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Par{is\\\"\"}}\n</tool_call>",
     R"(weather({"city":"Par{is\""}))"},
    {"Hermes",
     "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"days\": 2}}\n</tool_call>\n<tool_call>\n"
     "{\"arguments\": {}, \"name\": \"now\"}\n</tool_call>\n",
     R"(Let me see.|weather({"days":2})|now({}))"},
    {"Hermes", "<tool_call>{\"name\": \"now\"}</tool_call> It is late.", "now({})|It is late."},
    {"Hermes", R"(<tool_call>{"name": "now", "arguments": "{\"a\": [1]}"}</tool_call>)", R"(now({"a":[1]}))"},
    {"Hermes", R"(<tool_call>{"id": 3, "extra": {"name": 1}, "name": "now", "arguments": {}}</tool_call>)", "now({})"},
    {"Hermes", "a < b <tool_call> is how calls begin", "a < b <tool_call> is how calls begin"},
    {"Hermes", "<tool_call>{\"city\": \"Paris\"}</tool_call>", "<tool_call>{\"city\": \"Paris\"}</tool_call>"},
    {"Hermes", "<tool_call><tool_call>{\"name\": \"now\"}</tool_call>", "<tool_call>|now({})"},
    {"Hermes", "<tool_call>{\"na", "<tool_call>{\"na"},
    {"Hermes", "  text with space  ", "  text with space  "},
    {"Hermes", "{\"name\": \"weather\", \"parameters\": {}}", "{\"name\": \"weather\", \"parameters\": {}}"},
    {"Llama 3", R"({"name": "weather", "parameters": {"city": "Oslo"}})", R"(weather({"city":"Oslo"}))"},
    {"Llama 3",
     R"({"type": "function", "name": "now", "parameters": {}}; {"name": "weather", "parameters": {"days": 1}})",
     R"(now({})|weather({"days":1}))"},
    {"Llama 3", R"(<|python_tag|>{"name": "now", "parameters": {}})", "now({})"},
    {"Llama 3", R"({"name": "Alice", "parameters": {}})", R"({"name": "Alice", "parameters": {}})"},
    {"Llama 3", R"({"city": {"name": "now", "parameters": {}}})", R"({"city": {"name": "now", "parameters": {}}})"},
    {"Llama 3", R"(As {"name": "now", "parameters": {}})", R"(As {"name": "now", "parameters": {}})"},
    {"Llama 3", "<|python_tag|>print(1)", "<|python_tag|>print(1)"},
    {"Mistral",
     R"([TOOL_CALLS][{"name": "now", "arguments": {}, "id": "abcdefghi"}, {"name": "weather", "arguments": {"days": 1}}])",
     R"(now({})|weather({"days":1}))"},
    {"Mistral", R"(Yes.[TOOL_CALLS]weather[ARGS]{"city": "Rome"}[TOOL_CALLS]now[CALL_ID]123456789[ARGS]{})",
     R"(Yes.|weather({"city":"Rome"})|now({}))"},
    {"Mistral", "[TOOL_CALLS][]", "[TOOL_CALLS][]"},
    {"Granite", R"(<|tool_call|>[{"name": "now", "arguments": {}}])", "now({})"},
    {"Nemotron", R"(<TOOLCALL>[{"name": "now", "arguments": {}}]</TOOLCALL>)", "now({})"},
    {"Command", R"(<|START_ACTION|>[
    {"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Riga"}}
]<|END_ACTION|>)",
     R"(weather({"city":"Riga"}))"},
    {"gpt-oss", "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Bonn\"}<|call|>",
     R"(weather({"city":"Bonn"}))"},
    {"gpt-oss", "to=functions.now<|channel|>commentary json<|message|>{}", "now({})"},
    {"gpt-oss", "Write to=functions.now to call", "Write to=functions.now to call"},
    {"DeepSeek",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": "
     "\"Köln\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     R"(weather({"city":"Köln"})|now({}))"},
    {"DeepSeek",
     "Ja.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"days\": "
     "3}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     R"(Ja.|weather({"days":3}))"},
    {"Kimi",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"days\": 1}"
     "<|tool_call_end|><|tool_calls_section_end|>",
     R"(weather({"days":1}))"},
    {"Firefunction", R"( functools[{"name": "now", "arguments": {}}])", "now({})"},
    {"Functionary", "<function=weather>{\"city\": \"Bern\"}</function>", R"(weather({"city":"Bern"}))"},
    {"GLM",
     "I look.\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>New York</arg_value>\n<arg_key>days</arg_key>\n"
     "<arg_value>3</arg_value>\n<arg_key>hours</arg_key>\n<arg_value>[1, "
     "2]</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
     R"(I look.|weather({"city":"New York","days":3,"hours":[1,2]})|now({}))"},
    {"GLM", "<tool_call>now</tool_call>", "now({})"},
    {"Qwen3-Coder",
     "<tool_call>\n<function=weather>\n<parameter=city>\n5\n</parameter>\n<parameter=note>\nfirst\n<b>\"second\"\n\n"
     "</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=days>\n5\n</parameter>\n</function>\n</"
     "tool_call>",
     R"(weather({"city":"5","note":"first\n<b>\"second\"\n","exact":true,"days":5}))"},
    {"Qwen3-Coder", "<function=now>\n</function>\n</tool_call>", "now({})"},
    {"Qwen3-Coder", "<function=other><parameter=a>x</parameter><parameter=b>{\"c\": 1}</parameter></function>",
     R"(other({"a":"x","b":{"c":1}}))"},
    {"Qwen3-Coder", "<tool_call> <b>", "<tool_call> <b>"},
    {"Gemma 4",
     "<|tool_call>call:weather{city:<|\"|>Par,is \"} \\<|\"|>,days:3,exact:true,hours:[1,{a:<|\"|>b<|\"|>}],note:null}"
     "<tool_call|><|tool_call>call:now{}<tool_call|>",
     R"(weather({"city":"Par,is \"} \\","days":3,"exact":true,"hours":[1,{"a":"b"}],"note":null})|now({}))"},
    {"FunctionGemma", "<start_function_call>call:weather{city:<escape>Prag<escape>}<end_function_call>",
     R"(weather({"city":"Prag"}))"},
};

INSTANTIATE_TEST_SUITE_P(Families, ToolCalls, testing::ValuesIn(kCalls));

TEST(ToolCallSplitter, NameComesFirstAndArgumentsAsTheyAreWritten) {
  ToolCallSplitter splitter(family("Hermes"), tools());
  EXPECT_TRUE(splitter.push("<tool_call>{\"name\": \"weather\", \"argum").empty());
  std::vector<ToolPart> parts = splitter.push("ents\": {\"ci");
  EXPECT_EQ(parts, (std::vector<ToolPart>{{Kind::kCall, "weather"}, {Kind::kArguments, "{\"ci"}}));
  EXPECT_EQ(splitter.push("ty\": \"A"), (std::vector<ToolPart>{{Kind::kArguments, "ty\": \"A"}}));
  EXPECT_TRUE(splitter.finish().empty());  // broken off
}

TEST(ToolCallSplitter, LongTextsOfTaggedArgumentsAreShownWhileTheyCome) {
  ToolCallSplitter splitter(family("Qwen3-Coder"), tools());
  splitter.push("<function=weather><parameter=city>\n");
  EXPECT_EQ(splitter.push("a \"b"), (std::vector<ToolPart>{{Kind::kArguments, "a \\\"b"}}));
}

TEST(ToolCallSplitter, WithoutToolsAllIsText) {
  ToolCallSplitter splitter(family("Hermes"), nullptr);
  EXPECT_EQ(told(splitter.push("<tool_call>{\"name\": \"now\"}</tool_call>")),
            "<tool_call>{\"name\": \"now\"}</tool_call>");
}

TEST(ToolSyntax, FamiliesAreToldFromTheTemplate) {
  EXPECT_EQ(find_tool_syntax("x <tool_call>\\n{\"name\": <function-name>")->name, "Hermes");
  EXPECT_EQ(find_tool_syntax("<tool_call> <function=example> <parameter=a>")->name, "Qwen3-Coder");
  EXPECT_EQ(find_tool_syntax("<tool_call>{name}<arg_key>k")->name, "GLM");
  EXPECT_EQ(find_tool_syntax("nothing of tools"), nullptr);
  EXPECT_EQ(find_tool_syntax("'[TOOL_CALLS]'")->name, "Mistral");
  // A family's tells are found where only they stand, or another's that stands before it in the table.
  for (const ToolSyntax& syntax : tool_syntaxes()) {
    std::string source;
    for (const std::string_view tell : syntax.tells) source += std::string(tell) + "\n";
    EXPECT_EQ(find_tool_syntax(source)->name, syntax.name);
  }
}

}  // namespace
}  // namespace hunch
