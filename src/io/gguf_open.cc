#include "base/error.h"
#include "base/file.h"
#include "io/gguf.h"
#include "io/naming.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr const char* kSplitNo = "split.no";
constexpr const char* kSplitCount = "split.count";
constexpr const char* kSplitTensors = "split.tensors.count";
constexpr uint64_t kMaxParts = 99999;  // the file name has five digits

ModelFile open_one(const fs::path& path) {
  auto file = std::make_shared<MappedFile>(path);
  ModelFile model = naming(path, [&] { return parse_gguf(file->bytes()); });
  model.maps.push_back(file->bytes());
  model.owners.push_back(std::move(file));
  return model;
}

// The path of part `part` (from 0) of the split model to which `path` belongs: "name-00002-of-00003.gguf".
fs::path part_path(const fs::path& path, uint64_t part, uint64_t n_parts) {
  constexpr size_t kTailChars = sizeof("-00001-of-00003.gguf") - 1;
  const std::string name = path.filename().string();
  const std::string tail_of_all = fmt::format("-of-{:05}.gguf", n_parts);
  if (name.size() <= kTailChars || !name.ends_with(tail_of_all))
    fail(ErrorKind::kFormat, "'{}' is one of {} parts, so its name should end like '-00001{}'", path.string(), n_parts,
         tail_of_all);
  return path.parent_path() /
         fmt::format("{}-{:05}{}", name.substr(0, name.size() - kTailChars), part + 1, tail_of_all);
}

void check_part(const ModelFile& model, const fs::path& path, uint64_t part, uint64_t n_parts) {
  const uint64_t no = model.meta.get_uint(kSplitNo, 0), count = model.meta.get_uint(kSplitCount, 0);
  if (no != part || count != n_parts)
    fail(ErrorKind::kFormat, "'{}' says it is part {} of {}; expected part {} of {}", path.string(), no + 1, count,
         part + 1, n_parts);
}

}  // namespace

std::vector<fs::path> gguf_parts(const fs::path& path, size_t n_parts) {
  if (n_parts <= 1) return {path};
  std::vector<fs::path> parts;
  for (size_t part = 0; part < n_parts; ++part) parts.push_back(part_path(path, part, n_parts));
  return parts;
}

ModelFile open_gguf(const fs::path& path) {
  ModelFile model = open_one(path);
  const uint64_t n_parts = model.meta.get_uint(kSplitCount, 0);
  if (n_parts <= 1) return model;
  if (n_parts > kMaxParts)
    fail(ErrorKind::kFormat, "'{}' claims to be one of {} parts; at most {} are possible", path.string(), n_parts,
         kMaxParts);

  const fs::path first = part_path(path, 0, n_parts);
  if (model.meta.get_uint(kSplitNo, 0) != 0) model = open_one(first);
  check_part(model, first, 0, n_parts);
  for (uint64_t part = 1; part < n_parts; ++part) {
    const fs::path other_path = part_path(path, part, n_parts);
    ModelFile other = open_one(other_path);
    check_part(other, other_path, part, n_parts);
    model.tensors.insert(model.tensors.end(), other.tensors.begin(), other.tensors.end());
    model.owners.insert(model.owners.end(), other.owners.begin(), other.owners.end());
    model.maps.insert(model.maps.end(), other.maps.begin(), other.maps.end());
  }
  const uint64_t n_tensors = model.meta.get_uint(kSplitTensors, model.tensors.size());
  if (n_tensors != model.tensors.size())
    fail(ErrorKind::kFormat, "'{}' and its other parts hold {} tensors; expected {}", first.string(),
         model.tensors.size(), n_tensors);
  for (const char* key : {kSplitNo, kSplitCount, kSplitTensors}) model.meta.erase(key);
  naming(first, [&] { model.index(); });
  return model;
}

}  // namespace hunch
