// The tools that a request offers, and whether they must be called.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "serve/json.h"
#include "text/tool_call_reader.h"

namespace hunch::serve {

struct ToolSettings {
  enum class Choice : uint8_t { kNone, kAuto, kRequired, kNamed };
  Choice choice = Choice::kNone;
  std::string name;      // kNamed: of the one to call
  bool parallel = true;  // several calls in one answer
  // As templates take them, with what these need and a request may leave out (description, parameters); empty where
  // choice is kNone.
  Json list = Json::array();
  std::shared_ptr<const std::vector<Tool>> tools;  // the same; null where there are none

  bool is_forced() const { return choice == Choice::kRequired || choice == Choice::kNamed; }
};

constexpr size_t kMostTools = 512;

// `tools`: null or a list of {"type": "function", "function": {"name", "description", "parameters", "strict"}} as in
// OpenAI's chat API; `choice`: null, "none", "auto" (the default), "required" or {"type": "function", "function":
// {"name"}}. Other APIs bring theirs into this form. Throws RequestError{400} naming "tools" or "tool_choice".
ToolSettings tool_settings(const Json& tools, const Json& choice, bool parallel);

// Checks the calls of past answers ("tool_calls") and results (role "tool") in a list of messages. Throws
// RequestError{400} naming "messages".
void check_tool_messages(const Json& messages);

}  // namespace hunch::serve
