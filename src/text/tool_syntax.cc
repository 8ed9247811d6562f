#include "text/tool_syntax.h"

#include <algorithm>

namespace hunch {

// As published templates have them. Whose tells another's template has as well stands first.
const std::vector<ToolSyntax>& tool_syntaxes() {
  static const std::vector<ToolSyntax> kAll = {
      {.name = "GLM",
       .form = CallForm::kTagged,
       .tells = {"<arg_key>", "<tool_call>"},
       .begin = {"<tool_call>"},
       .key_open = "<arg_key>",
       .key_close = "</arg_key>",
       .value_open = "<arg_value>",
       .value_close = "</arg_value>",
       .close = "</tool_call>"},
      {.name = "Qwen3-Coder",
       .form = CallForm::kTagged,
       .tells = {"<function=", "<parameter="},
       .begin = {"<tool_call>", "<function="},
       .behind = {"</tool_call>"},
       .name_open = "<function=",
       .name_close = ">",
       .key_open = "<parameter=",
       .key_close = ">",
       .value_close = "</parameter>",
       .close = "</function>"},
      {.name = "Functionary",  // and Llama 3.1 by its custom format
       .form = CallForm::kNamed,
       .tells = {"<function="},
       .begin = {"<function="},
       .behind = {"</function>"},
       .name_close = ">"},
      {.name = "gpt-oss",
       .form = CallForm::kNamed,
       .tells = {"<|channel|>", "to=functions."},
       .begin = {"<|channel|>commentary to=functions.", "<|channel|>analysis to=functions."},
       .first = {"to=functions."},
       .behind = {"<|call|>", "<|start|>assistant", "<|channel|>final<|message|>"},
       .name_close = "<|message|>"},
      {.name = "DeepSeek",
       .form = CallForm::kNamed,
       .tells = {"<｜tool▁call▁begin｜>"},
       .begin = {"<｜tool▁call▁begin｜>"},
       .skipped = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"},
       .behind = {"```", "<｜tool▁call▁end｜>"},
       .name_close = "<｜tool▁sep｜>"},
      {.name = "Kimi",
       .form = CallForm::kNamed,
       .tells = {"<|tool_call_begin|>"},
       .begin = {"<|tool_call_begin|>"},
       .skipped = {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"},
       .behind = {"<|tool_call_end|>"},
       .name_close = "<|tool_call_argument_begin|>"},
      {.name = "Gemma 4",
       .form = CallForm::kBraced,
       .tells = {"<|tool_call>"},
       .begin = {"<|tool_call>call:"},
       .behind = {"<tool_call|>"},
       .quote = "<|\"|>"},
      {.name = "FunctionGemma",
       .form = CallForm::kBraced,
       .tells = {"<start_function_call>"},
       .begin = {"<start_function_call>call:"},
       .behind = {"<end_function_call>"},
       .quote = "<escape>"},
      {.name = "Mistral",
       .form = CallForm::kEither,
       .tells = {"[TOOL_CALLS]"},
       .begin = {"[TOOL_CALLS]"},
       .name_close = "[ARGS]"},
      {.name = "Granite",  // and Phi-4
       .tells = {"<|tool_call|>"},
       .begin = {"<|tool_call|>"},
       .behind = {"<|/tool_call|>"}},
      {.name = "Nemotron", .tells = {"<TOOLCALL>"}, .begin = {"<TOOLCALL>"}, .behind = {"</TOOLCALL>"}},
      {.name = "Command", .tells = {"<|START_ACTION|>"}, .begin = {"<|START_ACTION|>"}, .behind = {"<|END_ACTION|>"}},
      {.name = "Firefunction", .tells = {"functools["}, .first = {"functools"}},
      {.name = "Llama 3",
       .tells = {"\"parameters\": dictionary of argument name and its value"},
       .begin = {"<|python_tag|>"},
       .first = {"{"},
       .behind = {";"}},
      {.name =
           "Hermes",  // Qwen 2.5 and 3, SmolLM 3 and many others; and who has no form of his own is told of this one
       .tells = {"<tool_call>"},
       .begin = {"<tool_call>"},
       .behind = {"</tool_call>"}},
  };
  return kAll;
}

const ToolSyntax* find_tool_syntax(std::string_view source) {
  const auto occurs = [&](std::string_view mark) { return source.find(mark) != source.npos; };
  for (const ToolSyntax& syntax : tool_syntaxes())
    if (std::ranges::all_of(syntax.tells, occurs)) return &syntax;
  return nullptr;
}

std::vector<std::string_view> marks_of(const ToolSyntax& s) {
  std::vector<std::string_view> out = {s.name_open,  s.name_close,  s.key_open, s.key_close,
                                       s.value_open, s.value_close, s.close,    s.quote};
  for (const auto* marks : {&s.begin, &s.first, &s.skipped, &s.behind})
    out.insert(out.end(), marks->begin(), marks->end());
  // In templates of OpenAI's models this stands between the name and the arguments.
  if (s.name == "gpt-oss") out.push_back("<|constrain|>");
  std::erase_if(out, [](std::string_view mark) { return mark.size() < 3; });
  return out;
}

}  // namespace hunch
