// Templates of published models, where the shared data is present: the cases with their expected
// renderings, and each template against Python's Jinja2 where that is installed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/test_paths.h"
#include "jinja/render.h"
#include "text/chat_template.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

TEST(SharedTemplates, RenderEveryCaseAsExpected) {
  const auto shared = shared_path("templates/cases.json");
  if (!shared) GTEST_SKIP() << "templates/cases.json of the shared data is not here";
  const Json data = Json::parse(read_file(*shared));
  // The one template whose model has special tokens beyond BOS and EOS.
  const Json gigachat = {{"bos_token", "<s>"},
                         {"additional_special_tokens", {"<|role_sep|>", "<|message_sep|>", "[", "]"}}};
  for (const Json& c : data["cases"]) {
    TemplateOptions options;
    options.bos_token = c["bos_token"];
    options.eos_token = c["eos_token"];
    options.add_generation_prompt = data["add_generation_prompt"];
    options.flavor = TemplateOptions::Flavor::kLlamaCpp;  // the expectations are llama.cpp's
    const std::string source = c["template"];
    if (source.find("additional_special_tokens") != std::string::npos) options.extra = &gigachat;
    EXPECT_EQ(apply_chat_template(source, data["messages"], options), c["expected_jinja"].get<std::string>())
        << c["name"];
  }
}

Json conversations() {
  return Json::parse(R"([
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "  You are kind. 你好 🙂\n"}, {"role": "user", "content": "Hello\n world  "}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Héllo"},
     {"role": "assistant", "content": "   Hi <b>there</b></think> now "}, {"role": "user", "content": "Who \"are\" you?"}],
    [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3"},
     {"role": "assistant", "content": "4"}],
    [{"role": "system", "content": "alone"}],
    [{"role": "user", "content": "1"}, {"role": "user", "content": "2"}],
    [{"role": "system", "content": "s"}, {"role": "user", "content": "weather?"},
     {"role": "assistant", "content": null, "tool_calls": [{"id": "abcdefghi", "type": "function",
       "function": {"name": "get_weather", "arguments": {"location": "Zürich", "days": 2, "f": 1.0, "n": null, "b": true}}}]},
     {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "{\"t\": 21.5}"},
     {"role": "assistant", "content": "21"}, {"role": "user", "content": "thanks"}],
    [{"role": "user", "content": "weather?"},
     {"role": "assistant", "content": "calling", "tool_plan": "a plan", "tool_calls": [{"id": "abcdefghi", "type": "function",
       "function": {"name": "get_weather", "arguments": "{\"location\": \"Zürich\"}"}}]},
     {"role": "tool", "tool_call_id": "abcdefghi", "content": {"content": "sunny"}},
     {"role": "tool", "tool_call_id": "abcdefghi", "content": "again"}],
    [{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}]},
     {"role": "assistant", "content": "a cat"}],
    [{"role": "alien", "content": "x"}]])");
}

Json variable_sets() {
  const Json tools = Json::parse(R"([
    {"type": "function", "function": {"name": "get_weather", "description": "Get \"current\" weather — für Ort.",
     "parameters": {"type": "object", "properties": {
       "location": {"type": "string", "description": "City <name> & 'state'"},
       "days": {"type": "integer", "default": 3, "minimum": 1, "maximum": 14},
       "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
       "either": {"oneOf": [{"type": "string", "format": "date"}, {"type": "integer"}]}}, "required": ["location"]}}},
    {"type": "function", "function": {"name": "nop", "description": "Does nothing.",
     "parameters": {"type": "object", "properties": {}}}}])");
  return {Json::object(),
          {{"tools", nullptr}, {"documents", nullptr}},
          {{"tools", tools}, {"functions", tools.dump()}, {"datetime", "today"}},
          {{"tools", {tools[0]}},
           {"functions", "f"},
           {"datetime", "now"},
           {"tools_in_user_message", false},
           {"documents", {{{"title", "a"}, {"text", "b ü"}}, {{"title", "c"}, {"text", "d"}}}},
           {"enable_citations", true},
           {"builtin_tools", {"brave_search", "code_interpreter"}}}};
}

// Python's answers to the requests, or null when there is no python3 with jinja2.
Json ask_python(const Json& requests) {
  const fs::path in = testing::TempDir() + "hunch_template_requests.json",
                 out = testing::TempDir() + "hunch_template_answers.json";
  std::ofstream(in) << requests.dump();
  const fs::path script = fs::path(HUNCH_SOURCE_DIR) / "tools/make_template_golden.py";
  for (const char* python : {"/usr/bin/python3", "python3"}) {
    if (std::system((std::string(python) + " -c 'import jinja2' 2>/dev/null").c_str()) != 0) continue;
    const std::string command =
        std::string(python) + " '" + script.string() + "' --answer '" + in.string() + "' '" + out.string() + "'";
    if (std::system(command.c_str()) != 0) return nullptr;
    const Json answers = Json::parse(read_file(out));
    fs::remove(in);
    fs::remove(out);
    return answers;
  }
  return nullptr;
}

TEST(SharedTemplates, RenderAsPythonDoes) {
  const auto shared = shared_path("templates/jinja");
  if (!shared) GTEST_SKIP() << "templates/jinja of the shared data is not here";
  setenv("TZ", "UTC0", 1);  // the script's clock stands still in UTC
  tzset();
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(*shared)) {
    if (entry.path().extension() == ".jinja") files.push_back(entry.path());
  }
  ASSERT_FALSE(files.empty());
  Json requests = Json::array();
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    const std::string source = read_file(file);
    for (const Json& messages : conversations()) {
      for (const Json& set : variable_sets()) {
        for (const bool prompt : {true, false}) {
          if (!prompt && !set.empty()) continue;  // one set of variables is enough to see the difference
          Json variables = set;
          variables.update(
              {{"messages", messages}, {"add_generation_prompt", prompt}, {"bos_token", "<s>"}, {"eos_token", "</s>"}});
          requests.push_back({{"template", source}, {"variables", variables}});
          names.push_back(file.filename().string() + " with " + messages.dump());
        }
      }
    }
  }
  const Json answers = ask_python(requests);
  if (answers.is_null()) GTEST_SKIP() << "no python3 with jinja2 to compare with";
  ASSERT_EQ(answers.size(), requests.size());
  jinja::RenderOptions options;
  options.now = 1732000000;
  size_t n_equal = 0;
  for (size_t i = 0; i < requests.size(); i++) {
    const std::string python_error = answers[i].value("error", "");
    // A Python generator has no length and no JSON form; here it is a list, which has.
    if (python_error.find("generator") != std::string::npos) continue;
    std::string text, error;
    try {
      text = jinja::render(requests[i]["template"].get<std::string>(), requests[i]["variables"], options);
    } catch (const Error& e) {
      error = e.what();
    }
    EXPECT_EQ(error.empty(), python_error.empty()) << names[i] << "\nhere: " << error << "\nPython: " << python_error;
    if (!error.empty() || !python_error.empty()) continue;
    EXPECT_EQ(text, answers[i]["text"].get<std::string>()) << names[i];
    n_equal += text == answers[i]["text"];
  }
  EXPECT_GT(n_equal, requests.size() / 4) << "hardly any request renders at all";
}

}  // namespace
}  // namespace hunch
