#include "hub/hub.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/home_folder.h"
#include "hub/api.h"
#include "hub/cache.h"
#include "hub/download.h"
#include "hub/short_names.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxIndexBytes = uint64_t{1} << 28;
constexpr uint64_t kDiskMarginBytes = uint64_t{16} << 20;  // for listings, folders and the rest of the machine

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string first_line(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  const std::string text = read_file(path, 1 << 16);
  return text.substr(0, text.find_first_of("\r\n"));
}

std::string token_from_environment() {
  if (const std::string token = environment("HF_TOKEN"); !token.empty()) return token;
  if (const std::string path = environment("HF_TOKEN_PATH"); !path.empty()) return first_line(path);
  if (const std::string home = environment("HF_HOME"); !home.empty()) return first_line(fs::path(home) / "token");
  const std::string home = environment("HOME");
  return home.empty() ? std::string() : first_line(fs::path(home) / ".cache/huggingface/token");
}

// A token travels as a header line: blanks around it are slips, control characters would be other lines.
std::string checked_token(std::string token) {
  const auto is_blank = [](unsigned char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!token.empty() && is_blank(token.back())) token.pop_back();
  token.erase(token.begin(), std::find_if_not(token.begin(), token.end(), is_blank));
  if (!std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; })) {
    fail(ErrorKind::kUsage,
         "the hub token (HF_TOKEN) holds blanks or control characters; expected something like hf_...");
  }
  return token;
}

// One pull: the pieces that all its steps need.
class Pull {
 public:
  Pull(const std::string& id, const PullOptions& options)
      : options_(options), id_(parse_hub_id(expand_short_name(id))), cache_(options.home, id_.repo) {
    if (options.home.empty()) fail(ErrorKind::kUsage, "no cache folder is given; set HUNCH_HOME");
    if (id_.revision.empty()) id_.revision = options.revision;
    if (!is_safe_relative_path(id_.revision)) {
      fail(ErrorKind::kUsage, "'{}' cannot be a revision; expected a branch, a tag or a commit", id_.revision);
    }
    server_.endpoint = options.endpoint;
    while (server_.endpoint.ends_with('/')) server_.endpoint.pop_back();
    server_.token = checked_token(options.token);
    server_.n_retries = options.n_retries;
    server_.backoff_s = options.backoff_s;
    server_.note = options.note;
    server_.stop = options.stop;
  }

  std::optional<PulledModel> cached() const {
    const std::optional<std::string> commit = cache_.read_ref(id_.revision);
    return commit ? cached_at(*commit) : std::nullopt;
  }

  PulledModel run() {
    std::optional<PulledModel> present = cached();
    if (options_.offline) {
      if (present) return *present;
      fail(ErrorKind::kNotFound,
           "'{}' at revision '{}' is not (completely) in '{}', and hunch is offline; pull it while online", name(),
           id_.revision, cache_.folder().string());
    }
    if (present && is_commit(id_.revision)) return *present;
    HubApi api(server_);
    try {
      const std::string commit = api.commit(id_.repo, id_.revision);
      if (const auto model = cached_at(commit)) {
        cache_.write_ref(id_.revision, commit);
        return *model;
      }
      return fetch(api, commit);
    } catch (const HubUnreachable& error) {
      if (!present) throw;
      note(fmt::format("{}; using the copy of '{}' pulled earlier (commit {})", error.what(), name(),
                       present->commit.substr(0, 12)));
      return *present;
    }
  }

 private:
  std::string name() const { return id_.selector.empty() ? id_.repo : id_.repo + ":" + id_.selector; }

  void note(const std::string& text) const {
    if (options_.note) options_.note(text);
  }

  PulledModel result(const std::string& commit, const HubChoice& choice) const {
    PulledModel model;
    model.snapshot = cache_.snapshot(commit);
    model.path = choice.main_file.empty() ? model.snapshot : model.snapshot / choice.main_file;
    model.repo = id_.repo;
    model.revision = id_.revision;
    model.commit = commit;
    return model;
  }

  std::optional<PulledModel> cached_at(const std::string& commit) const {
    const std::optional<HubChoice> choice = cache_.complete_choice(commit, id_.selector);
    return choice ? std::optional(result(commit, *choice)) : std::nullopt;
  }

  PulledModel fetch(HubApi& api, const std::string& commit) {
    const FileLock lock(
        cache_.folder() / "lock", [&] { note(fmt::format("another hunch is pulling '{}'; waiting for it", id_.repo)); },
        options_.stop);
    std::optional<std::vector<HubFile>> files = cache_.read_listing(commit);
    if (!files) {
      files = api.files(id_.repo, commit);
      cache_.write_listing(commit, *files);
    }
    HubChoice choice = choose_hub_files(*files, id_.selector, id_.repo);
    uint64_t n_received_bytes = 0;
    if (!choice.index_file.empty()) {
      const auto index = std::find_if(choice.files.begin(), choice.files.end(),
                                      [&](const HubFile& f) { return f.path == choice.index_file; });
      n_received_bytes += download({*index}, commit, {});
      const bool staged = HubCache::has(cache_.staging(commit), *index);
      const fs::path folder = staged ? cache_.staging(commit) : cache_.snapshot(commit);
      add_shards(choice, *files, read_file(folder / index->path, kMaxIndexBytes));
    }
    n_received_bytes += download(choice.files, commit, options_.progress);
    cache_.publish(commit);
    cache_.write_ref(id_.revision, commit);
    PulledModel model = result(commit, choice);
    model.n_received_bytes = n_received_bytes;
    return model;
  }

  // Brings what is missing into the staging folder.
  uint64_t download(const std::vector<HubFile>& files, const std::string& commit, const Progress& progress) {
    DownloadJob job;
    job.repo = id_.repo;
    job.revision = id_.revision;
    job.n_parallel = options_.n_parallel;
    job.progress = progress;
    for (const HubFile& file : files) {
      if (HubCache::has(cache_.snapshot(commit), file) || HubCache::has(cache_.staging(commit), file)) continue;
      job.tasks.push_back({file, hub_file_url(server_, id_.repo, commit, file.path), cache_.part(commit, file.path),
                           cache_.staging(commit) / file.path});
    }
    check_disk(job.tasks);
    return download_files(server_, job);
  }

  void check_disk(const std::vector<DownloadTask>& tasks) const {
    uint64_t needed = 0;
    for (const DownloadTask& task : tasks) {
      std::error_code error;
      const uint64_t here = fs::file_size(task.part, error);
      const uint64_t missing = error || here > task.file.size ? task.file.size : task.file.size - here;
      if (__builtin_add_overflow(needed, missing, &needed)) needed = UINT64_MAX;
    }
    const uint64_t available = fs::space(cache_.folder()).available;
    if (needed > 0 && (available < kDiskMarginBytes || needed > available - kDiskMarginBytes)) {
      fail(ErrorKind::kIo,
           "'{}' needs {:.2f} GB more, but only {:.2f} GB are free in '{}'; make room, or set HUNCH_HOME to another "
           "disk",
           name(), double(needed) / 1e9, double(available) / 1e9, options_.home.string());
    }
  }

  const PullOptions& options_;
  HubId id_;
  HubCache cache_;
  HubServer server_;
};

}  // namespace

PullOptions pull_options_from_environment() {
  PullOptions options;
  options.home = hunch_home();
  if (const std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) options.endpoint = endpoint;
  options.token = token_from_environment();
  std::string offline = environment("HF_HUB_OFFLINE");
  std::transform(offline.begin(), offline.end(), offline.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  options.offline = offline == "1" || offline == "true" || offline == "yes" || offline == "on";
  return options;
}

PulledModel pull_model(const std::string& id, const PullOptions& options) {
  try {
    return Pull(id, options).run();
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::kIo, "cannot write to the cache of models in '{}': {}", options.home.string(), error.what());
  }
}

std::optional<PulledModel> cached_model(const std::string& id, const PullOptions& options) {
  return Pull(id, options).cached();
}

}  // namespace hunch
