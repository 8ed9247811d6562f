// Downloads a set of files in parallel: resumed, retried, verified, each renamed when it is right.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "hub/api.h"

namespace hunch {

struct DownloadTask {
  HubFile file;
  std::string url;
  std::filesystem::path part;    // where bytes gather; left behind by a failure, used by the next attempt
  std::filesystem::path target;  // appears when size and digest are right
};

struct DownloadJob {
  std::string repo, revision;  // for messages
  std::vector<DownloadTask> tasks;
  size_t n_parallel = 4;  // files at a time
  Progress progress;      // bytes of all files together, those found in parts included
};

// Downloads all files and returns the number of bytes that came over the network. `progress` and server.note are
// called on the calling thread only. The first failure stops the other downloads and is thrown when they have stopped;
// their parts stay. Throws Error{kNetwork} for a file that does not match its checksum (its part is deleted),
// Error{kInterrupted} when server.stop asks for it, Error{kIo} for a full disk, and what fail_hub_status says for
// refusals.
uint64_t download_files(const HubServer& server, const DownloadJob& job);

}  // namespace hunch
