// Where pulled models lie:
//
//   HOME/models/ORG--NAME/COMMIT/...            a snapshot: verified files, nothing else
//                         COMMIT.new/...        verified files of a snapshot that is not complete yet
//                         parts/COMMIT/*.part   bytes on their way
//                         listings/COMMIT.json  what the hub says the commit holds (sizes, checksums)
//                         refs/REVISION         the commit that a branch or tag named when last asked
//                         lock                  held while pulling
//
// A commit's listing never changes, so it tells offline whether a snapshot holds all that a model needs.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/stop.h"
#include "hub/choice.h"

namespace hunch {

class HubCache {
 public:
  HubCache(const std::filesystem::path& home, const std::string& repo);

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path snapshot(const std::string& commit) const { return folder_ / commit; }
  std::filesystem::path staging(const std::string& commit) const { return folder_ / (commit + ".new"); }
  std::filesystem::path part(const std::string& commit, const std::string& file) const;

  // The commit that `revision` named when last asked; a commit names itself.
  std::optional<std::string> read_ref(const std::string& revision) const;
  void write_ref(const std::string& revision, const std::string& commit) const;
  // nullopt when there is none, or it is damaged.
  std::optional<std::vector<HubFile>> read_listing(const std::string& commit) const;
  void write_listing(const std::string& commit, const std::vector<HubFile>& files) const;

  // What `selector` chooses at `commit`, if every file of it is in the snapshot at its full size.
  std::optional<HubChoice> complete_choice(const std::string& commit, const std::string& selector) const;
  // True when the file, at its full size, is in `dir` (a snapshot or staging folder).
  static bool has(const std::filesystem::path& dir, const HubFile& file);

  // Turns the staging folder into the snapshot by one rename, or adds its files to the snapshot that
  // another selection of the same commit has made; then removes what is left of the commit's parts.
  void publish(const std::string& commit) const;

 private:
  std::filesystem::path folder_;
  std::string repo_;
};

// An advisory lock on a file, for as long as the object lives: two processes do not write one part.
class FileLock {
 public:
  // Waits for the other holder, calling `waiting` once; throws Error{kInterrupted} when `stop` asks for it.
  FileLock(const std::filesystem::path& path, const std::function<void()>& waiting, const Stop* stop);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace hunch
