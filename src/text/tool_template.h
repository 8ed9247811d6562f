// Tools in the text of a conversation: as the model's template takes them, or told in words where it takes none.
#pragma once
#include "text/chat_text.h"
#include "text/tool_syntax.h"

namespace hunch {

// What a chat template does with tools, found out by rendering conversations with it.
struct ToolTemplate {
  const ToolSyntax* syntax = nullptr;  // how the model writes calls; never null once made
  bool takes_tools = false;            // else they are told in a system message, and calls and results as texts
  bool arguments_as_text = false;      // TemplateOptions::arguments_as_text
};
ToolTemplate tool_template(const ChatText& text);

// The conversation as the model sees it. `tools` is a list as TemplateOptions::tools, or an empty one; then nothing is
// said of tools. Throws as apply_chat_template.
std::string render_with_tools(const ChatText& text, const ToolTemplate& how, const nlohmann::ordered_json& messages,
                              const nlohmann::ordered_json& tools, const nlohmann::ordered_json& variables,
                              bool add_generation_prompt = true);

// The same conversation without a word of tools but in texts: those at hand in the system message, calls as Hermes'
// models write them, results in the user's messages.
nlohmann::ordered_json messages_told_of_tools(const nlohmann::ordered_json& messages,
                                              const nlohmann::ordered_json& tools);

// Ids of calls as Mistral's templates want them, nine letters and digits; equal ones stay equal.
void shorten_call_ids(nlohmann::ordered_json& messages);

}  // namespace hunch
