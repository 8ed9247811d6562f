// The Hugging Face hub: `pull_model` brings a model into the cache folder, and `cached_model` finds it there.
// Downloads are parallel, resumable, verified against the hub's sizes and checksums, and atomic: a snapshot folder
// appears when it is complete. Layout of the cache: hub/cache.h.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/stop.h"
#include "hub/id.h"

namespace hunch {

struct PullOptions {
  std::string revision = "main";  // branch, tag or commit, where the id names none
  std::string endpoint = "https://huggingface.co";
  std::string token;           // sent to the endpoint only, never to where it redirects; may be empty
  std::filesystem::path home;  // models lie in home/models
  size_t n_parallel = 4;       // files downloaded at a time
  int n_retries = 5;           // for broken connections, 429 and 5xx; counted anew after each MiB gained
  double backoff_s = 1;        // before the first retry; doubles up to 30 s; Retry-After is obeyed
  bool offline = false;        // never touch the network
  Progress progress;           // bytes of all files together
  const Stop* stop = nullptr;  // ends it with Error{kInterrupted}
  std::function<void(std::string_view)> note;  // one line on what is unusual: a retry, an older copy used
};

// The options that the environment asks for:
//   HUNCH_HOME   the cache folder (default ~/.cache/hunch)
//   HF_ENDPOINT  the hub (default https://huggingface.co)
//   HF_TOKEN     else the first line of the file HF_TOKEN_PATH, else of HF_HOME/token
//                (default ~/.cache/huggingface/token)
//   HF_HUB_OFFLINE  1, true, yes or on: offline
// Throws Error{kUsage} when neither HUNCH_HOME nor HOME is set.
PullOptions pull_options_from_environment();

struct PulledModel {
  std::filesystem::path path;      // what to open: the .gguf (its first shard), another file named, or the folder
  std::filesystem::path snapshot;  // the folder that holds the files of this commit
  std::string repo, revision, commit;
  uint64_t n_received_bytes = 0;  // over the network, for files; 0 when all was here
};

// Brings the model `id` (ORG/NAME[@REVISION][:FILE-OR-QUANT], see hub/id.h and hub/choice.h, or a short name, see
// hub/short_names.h) into the cache, unless it is there already at the revision's present commit, and says where it
// lies. When the hub cannot be reached and a complete snapshot of the revision is there, that one is used, with a note.
//
// Throws Error: kUsage (an id that cannot be meant), kNotFound (no such model, revision, file; nothing cached while
// offline), kUnsupported (nothing hunch reads), kNetwork (refused, unreachable, checksum mismatch), kFormat (answers
// that make no sense, file names that would leave the folder), kIo (disk full or not writable), kInterrupted.
// After a failure the same call resumes where this one stopped.
PulledModel pull_model(const std::string& id, const PullOptions& options);

// The model as a former pull left it, complete, without any network; nullopt when it is not there.
// Throws Error{kUsage}.
std::optional<PulledModel> cached_model(const std::string& id, const PullOptions& options);

}  // namespace hunch
