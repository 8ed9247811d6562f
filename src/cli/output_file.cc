#include "cli/output_file.h"

#include "base/error.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "io/printable.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

bool lies_in(const fs::path& path, const fs::path& input) {
  std::error_code ec;
  if (fs::equivalent(path, input, ec)) return true;
  if (!fs::is_directory(input, ec)) return false;
  for (fs::path folder = fs::canonical(path, ec).parent_path(); folder.has_relative_path();
       folder = folder.parent_path())
    if (fs::equivalent(folder, input, ec)) return true;
  return false;
}

}  // namespace

std::vector<fs::path> inputs_of(const ModelFlags& model, const std::vector<std::string>& files) {
  std::vector<fs::path> inputs;
  if (const fs::path local = local_model(model); !local.empty()) inputs.push_back(local);
  for (const std::string& lora : model.lora) inputs.push_back(parse_adapter(lora).path);
  for (const std::string& file : files)
    if (!file.empty()) inputs.push_back(file);
  return inputs;
}

void check_output(const std::string& path, const std::vector<fs::path>& inputs, bool force, const char* option) {
  if (path.empty()) fail(ErrorKind::kUsage, "where to? give {} FILE", option);
  if (path == "-")
    fail(ErrorKind::kUsage, "{}: a file is not written to standard output; expected a name (./- is a file called -)",
         option);
  std::error_code ec;
  if (fs::is_directory(path, ec))
    fail(ErrorKind::kUsage, "{}: '{}' is a folder, expected the file to write", option, printable(path, 300));
  if (!fs::exists(path, ec)) return;
  if (!fs::is_regular_file(path, ec))
    fail(ErrorKind::kUsage, "{}: '{}' is no regular file and is not replaced by one; give another file", option,
         printable(path, 300));
  for (const fs::path& input : inputs)
    if (lies_in(path, input))
      fail(ErrorKind::kUsage, "{}: '{}' is part of what is read, '{}'; give another file", option, printable(path, 300),
           printable(input.string(), 300));
  if (!force)
    fail(ErrorKind::kUsage, "{}: '{}' is there already; --force writes over it", option, printable(path, 300));
}

void check_output_folder(const std::string& path, const std::vector<fs::path>& inputs, bool force, const char* option) {
  if (path.empty()) fail(ErrorKind::kUsage, "where to? give {} FOLDER", option);
  std::error_code ec;
  if (!fs::exists(path, ec)) return;
  for (const fs::path& input : inputs)
    if (lies_in(path, input) || lies_in(input, path))
      fail(ErrorKind::kUsage, "{}: '{}' is part of what is read, '{}'; give another folder", option,
           printable(path, 300), printable(input.string(), 300));
  if (!fs::is_directory(path, ec))
    fail(ErrorKind::kUsage, "{}: '{}' is a file, expected the folder to write", option, printable(path, 300));
  if (!force)
    fail(ErrorKind::kUsage, "{}: '{}' is there already; --force writes over it", option, printable(path, 300));
  const auto holds = [&](const char* name) { return fs::exists(fs::path(path) / name, ec); };
  if (!fs::is_empty(path, ec) && !holds("config.json") && !holds("adapter_config.json"))
    fail(ErrorKind::kUsage, "{}: '{}' is no folder of a model or an adapter; it is not written over", option,
         printable(path, 300));
}

}  // namespace hunch::cli
