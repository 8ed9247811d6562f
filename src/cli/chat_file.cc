#include "cli/chat_file.h"

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "cli/output_file.h"
#include "io/printable.h"

namespace hunch::cli {

using Json = nlohmann::ordered_json;

std::string expand_home(const std::string& path) {
  const char* home = std::getenv("HOME");
  return path.starts_with("~/") && home ? home + path.substr(1) : path;
}

Json read_conversation(const std::string& path) {
  Json json;
  try {
    json = Json::parse(read_file(path, uint64_t{1} << 28));
  } catch (const Json::parse_error& e) {
    fail(ErrorKind::kFormat, "'{}' is not valid JSON: something is wrong at byte {}", printable(path, 300), e.byte);
  }
  if (json.is_object() && json.contains("messages")) json = Json(json["messages"]);
  if (!json.is_array())
    fail(ErrorKind::kFormat, "'{}': expected a JSON list of messages, found {}", printable(path, 300),
         json.type_name());
  return json;
}

void write_conversation(const std::string& path, const Json& messages, const std::vector<std::filesystem::path>& inputs,
                        bool over) {
  std::error_code ec;
  if (!over && std::filesystem::is_regular_file(path, ec))
    fail(ErrorKind::kUsage, "'{}' is there already; /save! writes over it", printable(path, 300));
  check_output(path, inputs, over, over ? "/save!" : "/save");
  AtomicFile file(path);
  file.write(messages.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  file.commit();
}

}  // namespace hunch::cli
