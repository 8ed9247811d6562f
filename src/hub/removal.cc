#include "hub/removal.h"

#include <algorithm>

#include "base/error.h"
#include "hub/cached_models.h"
#include "hub/id.h"
#include "hub/short_names.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

// Throws unless `path` is `folder`, or lies in it when links on the way are followed. (Of a path that is a link itself,
// only the link is removed.)
void check_inside(const fs::path& path, const fs::path& folder) {
  const fs::path inner = fs::weakly_canonical(path == folder ? path : path.parent_path()),
                 outer = fs::canonical(folder);
  if (std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end()) return;
  fail(ErrorKind::kUsage, "'{}' leads out of the cache, to '{}'; what lies there is yours to remove", path.string(),
       inner.string());
}

class Planner {
 public:
  Planner(const fs::path& home, const std::string& id)
      : id_(parse_hub_id(expand_short_name(id))), cache_(home, id_.repo) {
    removal_.id = id;
    removal_.folder = cache_.folder();
  }

  Removal plan() {
    std::error_code error;
    if (fs::is_symlink(removal_.folder, error))
      fail(ErrorKind::kUsage, "'{}' is a link that leads out of the cache, to '{}'; what lies there is yours to remove",
           removal_.folder.string(), fs::read_symlink(removal_.folder, error).string());
    if (!fs::is_directory(removal_.folder, error)) not_here();
    if (id_.revision.empty() && id_.selector.empty()) {
      add_repository();
    } else {
      const auto commit = cache_.read_ref(id_.revision.empty() ? "main" : id_.revision);
      if (!commit || !fs::exists(cache_.snapshot(*commit))) not_here();
      id_.selector.empty() ? add_commit(*commit) : add_files(*commit);
    }
    for (const fs::path& path : removal_.paths) {
      check_inside(path, removal_.folder);
      removal_.bytes += bytes_in(path);
    }
    return removal_;
  }

 private:
  [[noreturn]] void not_here() const {
    fail(ErrorKind::kNotFound, "'{}' is not in the cache, '{}' (`hunch list` shows what is)", removal_.id,
         removal_.folder.parent_path().string());
  }

  std::vector<std::string> commits() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(removal_.folder))
      if (is_commit(entry.path().filename().string())) out.push_back(entry.path().filename());
    return out;
  }

  void add(const fs::path& path) {
    if (fs::exists(fs::symlink_status(path))) removal_.paths.push_back(path);
  }

  // What `hunch sparsify` has put beside the model at `path`.
  void add_beside(const fs::path& path) {
    const std::string name = path.filename().string() + ".hunch";
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(path.parent_path(), error))
      if (entry.path().filename().string().starts_with(name)) {
        removal_.what.push_back(entry.path().filename().string());
        removal_.paths.push_back(entry.path());
      }
  }

  void add_repository() {
    for (const std::string& commit : commits())
      for (const CachedModel& model : models_of_commit(cache_, id_.repo, commit)) removal_.what.push_back(model.id);
    for (const auto& entry : fs::recursive_directory_iterator(removal_.folder))
      if (entry.path().extension() == ".hunch") removal_.what.push_back(entry.path().filename().string());
    add(removal_.folder);
  }

  void add_commit(const std::string& commit) {
    if (commits().size() == 1) return add_repository();  // nothing else is here
    for (const CachedModel& model : models_of_commit(cache_, id_.repo, commit)) removal_.what.push_back(model.id);
    add(cache_.snapshot(commit));
    add(cache_.staging(commit));
    add(removal_.folder / "parts" / commit);
    add(removal_.folder / "listings" / (commit + ".json"));
    add_beside(cache_.snapshot(commit));
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(removal_.folder / "refs", error))
      if (cache_.read_ref(entry.path().filename()) == commit) add(entry.path());
  }

  void add_files(const std::string& commit) {
    const auto choice = cache_.complete_choice(commit, id_.selector);
    if (!choice) not_here();
    const auto models = models_of_commit(cache_, id_.repo, commit);
    const auto is_chosen = [&](const CachedModel& model) {
      return std::ranges::all_of(model.files, [&](const HubFile& file) {
        return std::ranges::find(choice->files, file.path, &HubFile::path) != choice->files.end();
      });
    };
    if (std::ranges::all_of(models, is_chosen)) return add_commit(commit);
    for (const CachedModel& model : models)
      if (is_chosen(model)) removal_.what.push_back(model.id);
    for (const HubFile& file : choice->files) {
      const fs::path path = cache_.snapshot(commit) / file.path;
      add(path);
      if (file.path == choice->main_file) add_beside(path);
    }
  }

  HubId id_;
  HubCache cache_;
  Removal removal_;
};

}  // namespace

Removal plan_removal(const fs::path& home, const std::string& id) {
  try {
    return Planner(home, id).plan();
  } catch (const fs::filesystem_error& e) {
    fail(ErrorKind::kIo, "cannot read the cache of models in '{}': {}", home.string(), e.what());
  }
}

void remove_from_cache(const Removal& removal) {
  const FileLock lock(
      removal.folder / "lock",
      [&] { fail(ErrorKind::kUsage, "another hunch is pulling '{}' just now; nothing was removed", removal.id); },
      nullptr);
  try {
    for (const fs::path& path : removal.paths) fs::remove_all(path);
  } catch (const fs::filesystem_error& e) {
    fail(ErrorKind::kIo, "cannot remove '{}': {}", removal.id, e.what());
  }
}

}  // namespace hunch
