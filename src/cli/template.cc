// hunch template: a conversation as the model sees it.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/console.h"
#include "cli/session_io.h"
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

std::string token_text(const nlohmann::ordered_json& variables, const char* name, const std::string& otherwise) {
  const auto it = variables.find(name);
  if (it == variables.end()) return otherwise;
  if (!it->is_string())
    fail(ErrorKind::kUsage, "--variables: expected '{}' as a string, found {}", name, it->type_name());
  return it->get<std::string>();
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
  if (!flags.model.model.empty()) tokenizer.emplace(tokenizer_of(open_named(flags.model), flags.model));
  ChatText chat = chat_text(tokenizer ? &*tokenizer : nullptr, flags.template_file);
  nlohmann::ordered_json variables;
  if (!flags.variables_file.empty()) {
    variables = parse_json_file(flags.variables_file);
    if (!variables.is_object())
      fail(ErrorKind::kUsage, "--variables: expected a JSON object in '{}', found {}", flags.variables_file,
           variables.type_name());
    // The flavours look at these two, so they are more than variables.
    chat.options.bos_token = token_text(variables, "bos_token", chat.options.bos_token);
    chat.options.eos_token = token_text(variables, "eos_token", chat.options.eos_token);
    chat.options.extra = &variables;
  }
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
