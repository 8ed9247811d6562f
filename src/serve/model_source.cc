#include "serve/model_source.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace hunch::serve {
namespace fs = std::filesystem;
namespace {

// Of "name-00002-of-00003": where "-00002-of-00003" begins, and the part's number.
struct Part {
  size_t at, number;
};
std::optional<Part> part_of(std::string_view stem) {
  constexpr std::string_view kPattern = "-00000-of-00000";
  if (stem.size() <= kPattern.size()) return std::nullopt;
  const std::string_view end = stem.substr(stem.size() - kPattern.size());
  size_t number = 0;
  for (size_t i = 0; i < end.size(); ++i) {
    const bool is_digit = end[i] >= '0' && end[i] <= '9';
    if (kPattern[i] == '0' ? !is_digit : end[i] != kPattern[i]) return std::nullopt;
    if (i < 6 && is_digit) number = 10 * number + size_t(end[i] - '0');
  }
  return Part{stem.size() - kPattern.size(), number};
}

bool is_model(const fs::directory_entry& entry) {
  std::error_code ignored;
  if (entry.is_directory(ignored)) return fs::exists(entry.path() / "config.json", ignored);
  const std::string stem = entry.path().stem().string();
  if (!entry.is_regular_file(ignored) || entry.path().extension() != ".gguf" || stem.starts_with("mmproj"))
    return false;
  const std::optional<Part> part = part_of(stem);
  return !part || part->number == 1;
}

}  // namespace

bool ModelSource::is_named(std::string_view asked) const {
  constexpr std::string_view kTag = ":latest";
  const auto is = [&](std::string_view own) {
    return asked == own ||
           (asked.size() == own.size() + kTag.size() && asked.starts_with(own) && asked.ends_with(kTag));
  };
  return is(name) || std::ranges::any_of(aliases, is);
}

std::string name_of_model(const fs::path& path) {
  const fs::path whole = path.has_filename() ? path : path.parent_path();
  if (whole.extension() != ".gguf" && whole.extension() != ".bin") return whole.filename().string();
  const std::string stem = whole.stem().string();
  const std::optional<Part> part = part_of(stem);
  return part ? stem.substr(0, part->at) : stem;
}

std::vector<ModelSource> models_in(const fs::path& folder) {
  std::vector<fs::path> paths;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (is_model(entry)) paths.push_back(entry.path());
  } catch (const fs::filesystem_error& e) {
    fail(ErrorKind::kIo, "'{}' cannot be read as a folder of models: {}", folder.string(), e.code().message());
  }
  std::ranges::sort(paths);
  std::vector<ModelSource> out;
  for (const fs::path& path : paths) {
    std::string name = name_of_model(path);
    if (std::ranges::find(out, name, &ModelSource::name) != out.end()) name = path.filename().string();
    out.push_back({std::move(name), path});
  }
  return out;
}

}  // namespace hunch::serve
