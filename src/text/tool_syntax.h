// How models write the calls of tools: the marks of one family of chat templates, told from the template's text.
#pragma once
#include <string_view>
#include <vector>

namespace hunch {

// What stands behind the mark that begins a call.
enum class CallForm {
  kJson,    // {"name": ..., "arguments": {...}}, or a list of such objects
  kNamed,   // the name, marks, then {...}
  kEither,  // kJson where it begins with [ or {, else kNamed
  kTagged,  // the name, then each argument between marks
  kBraced,  // the name, then {key:value,...} with marks around texts
};

struct ToolSyntax {
  std::string_view name;
  CallForm form = CallForm::kJson;
  std::vector<std::string_view> tells;         // the template has all of these
  std::vector<std::string_view> begin = {};    // of a call, anywhere in the answer
  std::vector<std::string_view> first = {};    // of a call, but only where an answer begins, or behind another call
  std::vector<std::string_view> skipped = {};  // stand around calls
  std::vector<std::string_view> behind = {};   // stand behind a call; elsewhere they are text
  // kTagged: around the name ("" where the key's mark or a line ends it), a key, its value; what ends the call.
  std::string_view name_open = {}, name_close = {}, key_open = {}, key_close = {}, value_open = {}, value_close = {},
                   close = {};
  std::string_view quote = {};  // kBraced: on both sides of a text
};

// The family of this chat template; nullptr where none is known.
const ToolSyntax* find_tool_syntax(std::string_view template_source);
// All of them; the last is what models without a form of their own are asked for (text/tool_template.h).
const std::vector<ToolSyntax>& tool_syntaxes();

// All marks: where they are control tokens, who generates has to show them (GenerateOptions::shown).
std::vector<std::string_view> marks_of(const ToolSyntax& syntax);

}  // namespace hunch
