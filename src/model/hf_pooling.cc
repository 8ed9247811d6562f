#include "model/hf_pooling.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "io/printable.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr const char* kPoolingFile = "a Pooling module's config.json";

PoolingKind pooling_kind(std::string_view mode) {
  if (mode == "mean" || mode == "mean_tokens") return PoolingKind::kMean;
  if (mode == "cls" || mode == "cls_token") return PoolingKind::kCls;
  if (mode == "lasttoken") return PoolingKind::kLast;
  fail(ErrorKind::kUnsupported, "{}: texts are pooled by '{}'; hunch knows mean, cls and lasttoken", kPoolingFile,
       printable(mode));
}

}  // namespace

std::optional<PoolingKind> parse_pooling(std::string_view config_json) {
  const nlohmann::json config = nlohmann::json::parse(config_json, nullptr, false);
  if (!config.is_object()) fail(ErrorKind::kFormat, "{} is not a JSON object", kPoolingFile);
  if (const auto mode = config.find("pooling_mode"); mode != config.end() && mode->is_string())
    return pooling_kind(mode->get<std::string>());
  constexpr std::string_view kPrefix = "pooling_mode_";
  std::optional<PoolingKind> kind;
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with(kPrefix) || value != true) continue;
    if (kind) fail(ErrorKind::kUnsupported, "{}: vectors of several poolings are joined, expected one", kPoolingFile);
    kind = pooling_kind(std::string_view(key).substr(kPrefix.size()));
  }
  return kind;
}

HfPooling read_hf_pooling(const fs::path& folder) {
  HfPooling pooling;
  if (!fs::exists(folder / "modules.json")) return pooling;
  const nlohmann::json modules = nlohmann::json::parse(read_file(folder / "modules.json"), nullptr, false);
  if (!modules.is_array()) fail(ErrorKind::kFormat, "modules.json is not a JSON list");
  for (const nlohmann::json& module : modules) {
    const auto word = [&](const char* key) {
      const auto it = module.is_object() ? module.find(key) : module.end();
      return it != module.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    const std::string type = word("type"), kind = type.substr(type.rfind('.') + 1), path = word("path");
    if (kind == "Transformer" || kind == "Normalize") continue;
    if (kind != "Pooling") {
      pooling.unknown.push_back("modules.json: " + printable(kind));
      continue;
    }
    const fs::path inside(path);
    if (path.empty() || inside.has_parent_path() || path == "." || path == "..")
      fail(ErrorKind::kFormat, "modules.json: a module in '{}', expected the name of a folder", printable(path));
    if (fs::exists(folder / inside / "config.json"))
      pooling.kind = parse_pooling(read_file(folder / inside / "config.json"));
  }
  return pooling;
}

}  // namespace hunch
