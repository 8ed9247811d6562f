#include "io/output_folder.h"

#include <unistd.h>

#include "base/error.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

// "a/b/" names the same folder as "a/b".
fs::path without_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

fs::path beside(const fs::path& path, const char* what) {
  return fs::path(path.string() + fmt::format(".{}-{}", what, ::getpid()));
}

}  // namespace

OutputFolder::OutputFolder(fs::path path, bool replace)
    : path_(without_slash(path)), temporary_(beside(path_, "writing")), replace_(replace) {
  std::error_code ec;
  if (fs::exists(path_, ec) && !replace_) fail(ErrorKind::kIo, "'{}' is there already", path_.string());
  if (!fs::create_directory(temporary_, ec))
    fail(ErrorKind::kIo, "cannot make the folder '{}': {}", temporary_.string(),
         ec ? ec.message() : "it is there already");
}

OutputFolder::~OutputFolder() {
  std::error_code ec;
  if (!done_) fs::remove_all(temporary_, ec);
}

void OutputFolder::commit() {
  std::error_code ec;
  const fs::path old = beside(path_, "old");
  const bool replaces = fs::exists(path_, ec);
  if (replaces && !replace_) fail(ErrorKind::kIo, "'{}' is there already", path_.string());
  if (replaces) {
    fs::rename(path_, old, ec);
    if (ec) fail(ErrorKind::kIo, "cannot move '{}' out of the way: {}", path_.string(), ec.message());
  }
  fs::rename(temporary_, path_, ec);
  if (ec) {
    const std::string why = ec.message();
    if (replaces) fs::rename(old, path_, ec);
    fail(ErrorKind::kIo, "cannot rename '{}' to '{}': {}", temporary_.string(), path_.string(), why);
  }
  done_ = true;
  if (replaces) fs::remove_all(old, ec);
}

}  // namespace hunch
