#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/throw_if_stopped.h"
#include "hub/url.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxListingBytes = uint64_t{1} << 28;

// "org/name" as one folder name. Unique, because the hub allows no "--" in either half.
std::string folder_name(const std::string& repo) {
  std::string name = repo;
  const size_t slash = name.find('/');
  if (slash != name.npos) name.replace(slash, 1, "--");
  return name;
}

// Revisions such as refs/pr/1 stay one file name.
fs::path ref_path(const fs::path& folder, const std::string& revision) {
  return folder / "refs" / url_escape(revision, false);
}

void write_text(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

// The text of a small file of ours, or nullopt.
std::optional<std::string> read_text(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  return read_file(path, kMaxListingBytes);
}

}  // namespace

HubCache::HubCache(const fs::path& home, const std::string& repo)
    : folder_(home / "models" / folder_name(repo)), repo_(repo) {}

fs::path HubCache::part(const std::string& commit, const std::string& file) const {
  return folder_ / "parts" / commit / (file + ".part");
}

std::optional<std::string> HubCache::read_ref(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  std::optional<std::string> text = read_text(ref_path(folder_, revision));
  if (!text) return std::nullopt;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return is_commit(*text) ? text : std::nullopt;
}

void HubCache::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision != commit && read_ref(revision) != commit) write_text(ref_path(folder_, revision), commit + "\n");
}

std::optional<std::vector<HubFile>> HubCache::read_listing(const std::string& commit) const {
  const std::optional<std::string> text = read_text(folder_ / "listings" / (commit + ".json"));
  if (!text) return std::nullopt;
  try {
    return parse_hub_files(*text);
  } catch (const Error&) {
    return std::nullopt;  // damaged: ask the hub again
  }
}

void HubCache::write_listing(const std::string& commit, const std::vector<HubFile>& files) const {
  write_text(folder_ / "listings" / (commit + ".json"), dump_hub_files(files));
}

bool HubCache::has(const fs::path& dir, const HubFile& file) {
  std::error_code error;
  const uint64_t size = fs::file_size(dir / file.path, error);
  return !error && size == file.size;
}

std::optional<HubChoice> HubCache::complete_choice(const std::string& commit, const std::string& selector) const {
  const std::optional<std::vector<HubFile>> files = read_listing(commit);
  if (!files) return std::nullopt;
  const auto all_here = [&](const HubChoice& choice) {
    for (const HubFile& file : choice.files) {
      if (!has(snapshot(commit), file)) return false;
    }
    return true;
  };
  try {
    HubChoice choice = choose_hub_files(*files, selector, repo_);
    if (!all_here(choice)) return std::nullopt;
    if (choice.index_file.empty()) return choice;
    add_shards(choice, *files, read_file(snapshot(commit) / choice.index_file, kMaxListingBytes));
    return all_here(choice) ? std::optional(choice) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;  // the pull itself says why nothing can be chosen
  }
}

void HubCache::publish(const std::string& commit) const {
  const fs::path from = staging(commit), to = snapshot(commit);
  if (!fs::exists(to)) {
    fs::rename(from, to);
  } else if (fs::exists(from)) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(from)) {
      if (!entry.is_regular_file()) continue;
      const fs::path target = to / entry.path().lexically_relative(from);
      fs::create_directories(target.parent_path());
      fs::rename(entry.path(), target);
    }
    fs::remove_all(from);
  }
  // Empty folders only: parts of another selection may still be wanted.
  std::error_code ignored;
  fs::remove(folder_ / "parts" / commit, ignored);
  fs::remove(folder_ / "parts", ignored);
}

FileLock::FileLock(const fs::path& path, const std::function<void()>& waiting, const Stop* stop) {
  fs::create_directories(path.parent_path());
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(ErrorKind::kIo, "cannot write '{}': {}", path.string(), std::strerror(errno));
  for (bool told = false; flock(fd_, LOCK_EX | LOCK_NB) != 0; told = true) {
    if (errno != EWOULDBLOCK && errno != EINTR) return;  // a file system without locks: go on without
    try {
      if (!told && waiting) waiting();
      throw_if_stopped(stop);
    } catch (...) {
      close(fd_);
      throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

FileLock::~FileLock() { close(fd_); }

}  // namespace hunch
