#include "cli/output_file.h"

#include <filesystem>

#include "base/error.h"

namespace hunch::cli {
namespace fs = std::filesystem;

void check_output(const std::string& path, const std::string& model, bool force, const char* option) {
  if (path.empty()) fail(ErrorKind::kUsage, "where to? give {} FILE", option);
  std::error_code ec;
  if (fs::is_directory(path, ec)) fail(ErrorKind::kUsage, "{}: '{}' is a folder, expected a file", option, path);
  if (fs::equivalent(path, model, ec))
    fail(ErrorKind::kUsage, "{}: '{}' is the model that is read; give another file", option, path);
  if (!force && fs::exists(path, ec))
    fail(ErrorKind::kUsage, "{}: '{}' is there already; --force writes over it", option, path);
}

}  // namespace hunch::cli
