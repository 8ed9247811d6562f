#include "measure/home_json.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/home_folder.h"

namespace hunch {

nlohmann::json read_home_json(const std::string& name) {
  try {
    auto json = nlohmann::json::parse(read_file(hunch_home() / name, 1 << 20), nullptr, false);
    if (json.is_object()) return json;
  } catch (const Error&) {
  }
  return nlohmann::json::object();
}

void write_home_json(const std::string& name, const nlohmann::json& object) {
  const std::filesystem::path path = hunch_home() / name;
  std::error_code ec;
  std::filesystem::create_directories(path.parent_path(), ec);
  AtomicFile file(path);
  file.write(object.dump(2) + "\n");
  file.commit();
}

}  // namespace hunch
