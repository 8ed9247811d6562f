#include "hub/cached_models.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "hub/id.h"
#include "hub/lower.h"
#include "hub/short_names.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 1 << 24;

// The file whose times say when the model was used: of a folder its largest one, which listing it does not read.
fs::path main_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  fs::path largest = path;
  uint64_t most = 0;
  for (const auto& entry : fs::directory_iterator(path, error))
    if (const uint64_t bytes = entry.is_regular_file(error) ? entry.file_size(error) : 0; bytes > most) {
      most = bytes;
      largest = entry.path();
    }
  return largest;
}

int64_t used_s(const fs::path& path) {
  struct stat info {};
  if (stat(main_file(path).c_str(), &info) != 0) return 0;
  return std::max<int64_t>(info.st_atime, info.st_mtime);
}

// "model-Q4_K_M-00001-of-00002.gguf" -> "Q4_K_M": the last word of the name that could be a type.
std::string type_in_name(std::string name) {
  std::string type;
  for (char& c : name)
    if (c == '.' || c == '-') c = ' ';
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find(' ', begin), name.size());
    const std::string word = name.substr(begin, end - begin), small = lower(word);
    begin = end + 1;
    const bool is_quant = small.size() > 1 && small[0] == 'q' && std::isdigit(static_cast<unsigned char>(small[1])) &&
                          small.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == small.npos;
    if (is_quant || small == "f16" || small == "fp16" || small == "bf16" || small == "f32") type = word;
  }
  return type;
}

std::string type_in_config(const fs::path& config) {
  std::error_code error;
  if (!fs::is_regular_file(config, error)) return "";
  try {
    const auto json = nlohmann::json::parse(read_file(config, kMaxConfigBytes), nullptr, /*allow_exceptions=*/false);
    for (const char* key : {"dtype", "torch_dtype"})
      if (json.is_object() && json.contains(key) && json[key].is_string()) return json[key].get<std::string>();
  } catch (const Error&) {
    // too large, or not readable: whoever opens the model says so
  }
  return "";
}

CachedModel describe(const HubCache& cache, const std::string& repo, const std::string& commit,
                     const HubChoice& choice) {
  CachedModel model;
  model.repo = repo;
  model.commit = commit;
  model.files = choice.files;
  const fs::path snapshot = cache.snapshot(commit);
  model.path = choice.main_file.empty() ? snapshot : snapshot / choice.main_file;
  for (const HubFile& file : choice.files) model.bytes += file.size;
  model.type = choice.main_file.empty() ? type_in_config(snapshot / "config.json")
                                        : type_in_name(fs::path(choice.main_file).filename());
  model.used_s = used_s(model.path);
  return model;
}

// "", or "@REVISION" by which the commit is found without a network.
std::string revision_suffix(const HubCache& cache, const std::string& commit) {
  if (cache.read_ref("main") == commit) return "";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cache.folder() / "refs", error)) {
    const std::string name = entry.path().filename();
    if (name.find('%') == name.npos && cache.read_ref(name) == commit) return "@" + name;
  }
  return "@" + commit;
}

// The short name that the files of `choice` are pulled by.
std::string short_name_of(const HubCache& cache, const std::string& repo, const std::string& commit,
                          const HubChoice& choice) {
  for (const ShortName& known : short_names()) {
    const HubId id = parse_hub_id(known.id);
    if (id.repo != repo) continue;
    const auto same = cache.complete_choice(commit, id.selector);
    if (same && same->main_file == choice.main_file) return std::string(known.name);
  }
  return "";
}

}  // namespace

uint64_t bytes_in(const fs::path& path) {
  std::error_code error;
  if (fs::is_symlink(path, error)) return 0;
  if (!fs::is_directory(path, error)) {
    const uint64_t bytes = fs::file_size(path, error);
    return error ? 0 : bytes;
  }
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path, error))
    if (entry.is_regular_file(error) && !entry.is_symlink(error)) bytes += entry.file_size(error);
  return bytes;
}

std::string repo_of_folder(const std::string& name) {
  std::string repo = name;
  if (const size_t dashes = repo.find("--"); dashes != repo.npos) repo.replace(dashes, 2, "/");
  try {
    return parse_hub_id(repo).repo == repo ? repo : "";
  } catch (const Error&) {
    return "";
  }
}

std::vector<CachedModel> models_of_commit(const HubCache& cache, const std::string& repo, const std::string& commit) {
  std::vector<CachedModel> models;
  const std::optional<std::vector<HubFile>> listing = cache.read_listing(commit);
  if (!listing) return models;
  std::set<std::string> seen;
  const auto add = [&](const HubChoice& choice, const std::string& selector) {
    CachedModel model = describe(cache, repo, commit, choice);
    const std::string revision = revision_suffix(cache, commit);
    model.id = repo + revision + selector;
    if (revision.empty()) model.short_name = short_name_of(cache, repo, commit, choice);
    for (const HubFile& file : model.files) seen.insert(file.path);
    models.push_back(std::move(model));
  };
  if (const auto choice = cache.complete_choice(commit, "")) add(*choice, "");
  for (const HubFile& file : *listing) {
    if (seen.contains(file.path) || !HubCache::has(cache.snapshot(commit), file)) continue;
    if (const auto choice = cache.complete_choice(commit, file.path)) add(*choice, ":" + choice->main_file);
  }
  return models;
}

CacheContent cached_models(const fs::path& home) {
  CacheContent content;
  const fs::path folder = home / "models";
  std::error_code error;
  if (!fs::is_directory(folder, error)) return content;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string repo = repo_of_folder(entry.path().filename());
      if (repo.empty() || !entry.is_directory(error)) continue;
      const HubCache cache(home, repo);
      for (const auto& part : fs::directory_iterator(entry.path())) {
        const std::string name = part.path().filename();
        if (is_commit(name)) {
          for (CachedModel& model : models_of_commit(cache, repo, name)) content.models.push_back(std::move(model));
        } else if (name == "parts" || name.ends_with(".new")) {
          content.unfinished_bytes += bytes_in(part.path());
        }
      }
    }
  } catch (const fs::filesystem_error& e) {
    fail(ErrorKind::kIo, "cannot read the cache of models in '{}': {}", folder.string(), e.what());
  }
  std::ranges::sort(content.models, {}, &CachedModel::id);
  return content;
}

void mark_used(const fs::path& path) {
  const timespec times[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  utimensat(AT_FDCWD, main_file(path).c_str(), times, 0);
}

}  // namespace hunch
