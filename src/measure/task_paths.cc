#include "measure/task_paths.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "jinja/unicode.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

bool is_file(const fs::path& path) {
  std::error_code ec;
  return fs::is_regular_file(path, ec);
}
bool is_folder(const fs::path& path) {
  std::error_code ec;
  return fs::is_directory(path, ec);
}

std::string subject_of(const fs::path& path) {
  const std::string stem = path.stem().string();
  for (const char* split : {"_test", "_val", "_dev"})
    if (stem.ends_with(split)) return stem.substr(0, stem.rfind('_'));
  return stem;
}

// "ARC-Easy-Test.jsonl" -> "ARC-Easy-Train.jsonl"; empty: its name has no such part.
fs::path other_split(const fs::path& path, const std::string& split) {
  static constexpr std::array kSplits = {"test", "val", "valid", "validation", "dev"};
  const std::string stem = path.stem().string();
  const size_t at = stem.find_last_of("-_.") + 1;  // 0 where there is none
  const std::string last = stem.substr(at);
  if (std::ranges::find(kSplits, jinja::to_lower(last)) == kSplits.end()) return {};
  const bool capital = last[0] < 'a';
  return path.parent_path() /
         (stem.substr(0, at) + (capital ? jinja::capitalize(split) : split) + path.extension().string());
}

}  // namespace

std::vector<TaskFile> task_files(Task task, const fs::path& path) {
  if (!is_folder(path)) {
    if (!is_file(path)) fail(ErrorKind::kNotFound, "cannot open '{}'", path.string());
    return {{path, task == Task::kMmlu ? subject_of(path) : ""}};
  }
  if (task != Task::kMmlu) fail(ErrorKind::kUsage, "'{}' is a folder, expected the task's file", path.string());
  const fs::path folder = is_folder(path / "test") ? path / "test" : path;
  std::vector<TaskFile> files;
  bool tests = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".csv" || !is_file(entry.path())) continue;
    files.push_back({entry.path(), subject_of(entry.path())});
    tests = tests || entry.path().stem().string().ends_with("_test");
  }
  // All splits in one folder: the test's.
  if (tests) std::erase_if(files, [](const TaskFile& f) { return !f.path.stem().string().ends_with("_test"); });
  if (files.empty())
    fail(ErrorKind::kNotFound, "'{}' holds no csv files, expected one for each subject", folder.string());
  std::ranges::sort(files, {}, &TaskFile::subject);
  return files;
}

fs::path few_shot_file(Task task, const TaskFile& file, const fs::path& named) {
  const fs::path folder = file.path.parent_path(), dev = file.subject + "_dev.csv";
  std::vector<fs::path> candidates;
  if (!named.empty() && !is_folder(named)) {
    candidates = {named};
  } else if (task == Task::kMmlu) {
    candidates = named.empty() ? std::vector<fs::path>{folder / ".." / "dev" / dev, folder / dev}
                               : std::vector<fs::path>{named / dev, named / "dev" / dev};
  } else if (named.empty()) {
    candidates = {other_split(file.path, "train"), other_split(file.path, "dev")};
  }
  std::error_code ec;
  for (const fs::path& candidate : candidates)
    if (is_file(candidate)) return fs::equivalent(candidate, file.path, ec) ? fs::path() : candidate.lexically_normal();
  if (named.empty()) return {};
  fail(ErrorKind::kNotFound, "no solved questions{}: '{}' is not there",
       file.subject.empty() ? "" : fmt::format(" about {}", file.subject),
       candidates.empty() ? named.string() : candidates[0].string());
}

}  // namespace hunch
