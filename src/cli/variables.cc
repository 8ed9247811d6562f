#include "cli/variables.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/error.h"
#include "cli/console.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

bool is_name(std::string_view text) {
  const auto is_letter = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  return !text.empty() && std::ranges::all_of(text, is_letter) && !std::isdigit(static_cast<unsigned char>(text[0]));
}

Json value_of(const std::string& text) {
  if (text == "True") return true;
  if (text == "False") return false;
  if (text == "None") return nullptr;
  Json value = Json::parse(text, nullptr, false);
  return value.is_discarded() ? Json(text) : value;
}

Json object_of(const std::string& text, const std::string& where) {
  Json object;
  try {
    object = Json::parse(text);
  } catch (const Json::parse_error& e) {
    fail(ErrorKind::kFormat, "--variables: '{}' is not valid JSON: something is wrong at byte {}",
         printable(where, 300), e.byte);
  }
  if (!object.is_object())
    fail(ErrorKind::kUsage, "--variables: expected a JSON object in '{}', found {}", printable(where, 300),
         object.type_name());
  return object;
}

Json object_of_item(const std::string& item) {
  const size_t begin = item.find_first_not_of(" \t\r\n");
  if (begin != item.npos && item[begin] == '{') return object_of(item, item);
  const size_t equals = item.find('=');
  if (equals != item.npos && is_name(std::string_view(item).substr(0, equals)))
    return {{item.substr(0, equals), value_of(item.substr(equals + 1))}};
  std::error_code ec;
  if (item != "-" && !std::filesystem::exists(item, ec))
    fail(ErrorKind::kUsage, "--variables: expected KEY=VALUE, a JSON object or a file with one, found '{}'",
         printable(item, 300));
  return object_of(read_text(item), item);
}

void take_text(const Json& variables, const char* name, std::string& target) {
  const auto it = variables.find(name);
  if (it == variables.end()) return;
  if (!it->is_string())
    fail(ErrorKind::kUsage, "--variables: expected '{}' as a string, found {}", name, it->type_name());
  target = it->get<std::string>();
}

}  // namespace

Json parse_variables(const std::vector<std::string>& items) {
  Json variables;
  for (const std::string& item : items) {
    const Json object = object_of_item(item);
    for (const auto& [key, value] : object.items()) variables[key] = value;
  }
  return variables;
}

void use_variables(ChatText& chat, const Json& variables) {
  if (variables.is_null()) return;
  // The flavours look at these two, so they are more than variables.
  take_text(variables, "bos_token", chat.options.bos_token);
  take_text(variables, "eos_token", chat.options.eos_token);
  chat.options.extra = &variables;
}

}  // namespace hunch::cli
