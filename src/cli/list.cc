// The verb `list`: what the cache of models holds, and the short names of well-known models.
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/home_folder.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/table.h"
#include "hub/cached_models.h"
#include "hub/short_names.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

using nlohmann::ordered_json;

std::string time_text(int64_t seconds, bool utc) {
  const std::time_t time = seconds;
  std::tm parts{};
  utc ? gmtime_r(&time, &parts) : localtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, utc ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%d %H:%M", &parts)};
}

int list_known(const ListFlags& flags) {
  if (flags.json) {
    ordered_json known = ordered_json::array();
    for (const ShortName& name : short_names())
      known.push_back({{"name", name.name}, {"id", name.id}, {"size", name.size}, {"note", name.note}});
    print_json({{"known", known}});
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  if (!flags.names) rows.push_back({"short name", "about", "what for", "from"});
  for (const ShortName& name : short_names())
    flags.names ? rows.push_back({std::string(name.name)})
                : rows.push_back(
                      {std::string(name.name), std::string(name.size), std::string(name.note), std::string(name.id)});
  print(table(rows, {2, 3}));
  return 0;
}

void print_models(const CacheContent& content, const std::filesystem::path& home, bool quiet) {
  std::vector<std::vector<std::string>> rows = {{"model", "short name", "size", "type", "used"}};
  uint64_t bytes = 0;
  for (const CachedModel& model : content.models) {
    rows.push_back({printable(model.id, 300), model.short_name, human_bytes(double(model.bytes)), printable(model.type),
                    time_text(model.used_s, false)});
    bytes += model.bytes;
  }
  if (!content.models.empty()) print(table(rows, {1, 3, 4}));
  if (quiet) return;
  const size_t n = content.models.size();
  std::string line =
      n ? fmt::format("{} model{}, {}, in {}", n, n == 1 ? "" : "s", human_bytes(double(bytes)),
                      (home / "models").string())
        : fmt::format("no models in {}; `hunch pull` and `hunch list --known` help", (home / "models").string());
  if (content.unfinished_bytes)
    line += fmt::format("; {} of pulls that are not complete", human_bytes(double(content.unfinished_bytes)));
  note(line);
}

}  // namespace

int list(const ListFlags& flags) {
  if (flags.known) return list_known(flags);
  const std::filesystem::path home = hunch_home();
  const CacheContent content = cached_models(home);
  if (flags.json) {
    ordered_json models = ordered_json::array();
    for (const CachedModel& model : content.models)
      models.push_back({{"id", model.id},
                        {"short_name", model.short_name},
                        {"repo", model.repo},
                        {"commit", model.commit},
                        {"path", model.path.string()},
                        {"bytes", model.bytes},
                        {"type", model.type},
                        {"used", time_text(model.used_s, true)}});
    print_json({{"home", home.string()}, {"models", models}, {"unfinished_bytes", content.unfinished_bytes}});
  } else if (flags.names) {
    for (const CachedModel& model : content.models)
      print(model.id + "\n" + (model.short_name.empty() ? "" : model.short_name + "\n"));
  } else {
    print_models(content, home, flags.quiet);
  }
  return 0;
}

}  // namespace hunch::cli
