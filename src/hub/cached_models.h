// What the cache of models holds (hub/cache.h), found without any network.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/cache.h"

namespace hunch {

// A model that can be opened: a folder, one GGUF with its shards, or another file that was asked for by name.
struct CachedModel {
  std::string
      id;  // as pull_model takes it: ORG/NAME, with @REVISION where `main` is another, :FILE where there are more
  std::string short_name;  // by which it is found too, or ""
  std::string repo, commit;
  std::filesystem::path path;  // what to open
  std::vector<HubFile> files;  // paths relative to the snapshot
  uint64_t bytes = 0;
  std::string type;    // of the weights, as a GGUF's name or config.json says it; "" where they do not
  int64_t used_s = 0;  // when it was opened last, or fetched; seconds since 1970
};

struct CacheContent {
  std::vector<CachedModel> models;  // by id
  uint64_t unfinished_bytes = 0;    // of pulls that have not been completed
};

// Throws Error{kIo} for a folder that cannot be read. No folder is an empty one.
CacheContent cached_models(const std::filesystem::path& home);

// Those of one commit.
std::vector<CachedModel> models_of_commit(const HubCache& cache, const std::string& repo, const std::string& commit);

// Of the file, or of all files in the folder; links count nothing. 0 of what is not there.
uint64_t bytes_in(const std::filesystem::path& path);

// The repository whose folder in the cache has this name, or "".
std::string repo_of_folder(const std::string& name);

// Notes that the model at `path` is used now, for CachedModel::used_s. Where that cannot be written, nothing happens.
void mark_used(const std::filesystem::path& path);

}  // namespace hunch
