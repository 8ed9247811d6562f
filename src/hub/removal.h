// Taking models out of the cache (hub/cache.h). Snapshots share no files, so that what goes is what is named.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hunch {

// What goes. Every path lies in the cache.
struct Removal {
  std::string id;                            // as it was asked for
  std::filesystem::path folder;              // the repository's
  std::vector<std::filesystem::path> paths;  // files and folders, the whole of each
  std::vector<std::string> what;             // for people: the models among it, and what lies beside them
  uint64_t bytes = 0;
};

// ORG/NAME: all that was pulled of it. ORG/NAME@REVISION: that commit. ORG/NAME:FILE-OR-QUANT, or a short name of such
// a one: these files, and the commit with them where nothing else is left of it. With a model goes what `hunch
// sparsify` has put beside it. Throws Error: kUsage (an id that cannot be meant, a link that leads out of the cache),
// kNotFound.
Removal plan_removal(const std::filesystem::path& home, const std::string& id);

// Does it. Throws Error: kUsage when another hunch is pulling that model just now, kIo.
void remove_from_cache(const Removal& removal);

}  // namespace hunch
