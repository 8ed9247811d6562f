// hunch template: a conversation as the model sees it.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/console.h"
#include "cli/session_io.h"
#include "cli/variables.h"
#include "text/chat_text.h"

namespace hunch::cli {
namespace {

nlohmann::ordered_json parse_json_file(const std::string& path) {
  try {
    return nlohmann::ordered_json::parse(read_text(path));
  } catch (const nlohmann::ordered_json::parse_error& e) {
    fail(ErrorKind::kFormat, "'{}' is not valid JSON: something is wrong at byte {}", path, e.byte);
  }
}

}  // namespace

int show_template(const TemplateFlags& flags) {
  if (flags.messages_file.empty())
    fail(ErrorKind::kUsage, "which conversation? give --messages FILE with a JSON list of {{\"role\", \"content\"}}");
  auto messages = parse_json_file(flags.messages_file);
  if (messages.is_object() && messages.contains("messages")) messages = nlohmann::ordered_json(messages["messages"]);
  nlohmann::ordered_json tools;
  if (!flags.tools_file.empty()) tools = parse_json_file(flags.tools_file);
  std::optional<Tokenizer> tokenizer;
  if (!flags.model.model.empty()) tokenizer.emplace(open_tokenizer(flags.model));
  ChatText chat = chat_text(tokenizer ? &*tokenizer : nullptr, flags.template_file);
  const nlohmann::ordered_json variables = parse_variables(flags.variables);
  use_variables(chat, variables);
  if (flags.flavor == "llama.cpp") chat.options.flavor = TemplateOptions::Flavor::kLlamaCpp;
  chat.options.add_generation_prompt = !flags.no_generation_prompt;
  if (!tools.is_null()) chat.options.tools = &tools;
  const std::string text = apply_chat_template(chat.source, messages, chat.options);
  if (flags.model.json) {
    print_json({{"text", text}});
  } else {
    print(text);
    if (stdout_is_terminal() && !text.ends_with('\n')) print("\n");
  }
  return 0;
}

}  // namespace hunch::cli
