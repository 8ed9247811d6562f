// The verb `rm`: a model leaves the cache. Files elsewhere are nothing to it.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/home_folder.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "hub/cached_models.h"
#include "hub/removal.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

// plan_removal(), which suggests a name that is there where this one is not.
Removal plan(const std::filesystem::path& home, const std::string& id) {
  try {
    return plan_removal(home, id);
  } catch (const Error& e) {
    std::error_code ec;
    if (std::filesystem::exists(id, ec))
      fail(ErrorKind::kNotFound,
           "rm: '{}' is a file or folder here and not in the cache; expected what `hunch list` shows",
           printable(id, 300));
    if (e.kind() != ErrorKind::kNotFound) throw;
    std::vector<std::string> names;
    for (const CachedModel& model : cached_models(home).models) {
      names.push_back(model.id);
      names.push_back(model.repo);
      if (!model.short_name.empty()) names.push_back(model.short_name);
    }
    throw Error(e.kind(), e.what() + suggestion(id, names));
  }
}

// Ctrl-C, or an end of the input, is no.
bool asks_and_hears_yes(const Removal& removal) {
  if (!stdin_is_terminal())
    fail(ErrorKind::kUsage, "rm would remove {} ({}) and cannot ask here; --yes does it without a question",
         printable(removal.id, 300), human_bytes(double(removal.bytes)));
  for (const std::string& what : removal.what) note("  " + printable(what, 300));
  std::cerr << "Remove " << printable(removal.id, 300) << ", " << human_bytes(double(removal.bytes)) << "? [y/N] "
            << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

int rm(const RmFlags& flags) {
  const Removal removal = plan(hunch_home(), flags.id);
  if (!flags.yes && !asks_and_hears_yes(removal)) {
    note("nothing was removed");
    return 1;
  }
  remove_from_cache(removal);
  if (flags.json) {
    print_json({{"id", removal.id}, {"removed", removal.what}, {"bytes", removal.bytes}});
  } else if (!flags.quiet) {
    for (const std::string& what : removal.what) note("removed " + printable(what, 300));
    note(human_bytes(double(removal.bytes)) + " are free again");
  }
  return 0;
}

}  // namespace hunch::cli
