#include "hub/listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "hub/id.h"

namespace hunch {
namespace {

using nlohmann::json;

bool is_lower_hex(std::string_view text, size_t n_digits) {
  return text.size() == n_digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Text from outside as it may stand in a message: printable and not too long.
std::string excerpt(std::string_view text) {
  std::string out(text.substr(0, 100));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

json parse_json(std::string_view text, const char* what) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    fail(ErrorKind::kFormat, "{}: expected JSON, got '{}'; is the endpoint a Hugging Face hub?", what, excerpt(text));
  }
  return value;
}

// The string at `key`, or empty when there is none.
std::string string_at(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

uint64_t size_of(const json& object, const std::string& path) {
  const auto it = object.find("size");
  if (it == object.end() || !it->is_number_unsigned()) fail(ErrorKind::kFormat, "the hub gives no size for '{}'", path);
  return it->get<uint64_t>();
}

std::string safe_path(std::string path) {
  if (!is_safe_relative_path(path)) {
    fail(ErrorKind::kFormat, "the hub lists a file named '{}', which could be written outside the cache; refused",
         excerpt(path));
  }
  return path;
}

HubFile tree_file(const json& entry) {
  HubFile file;
  file.path = safe_path(string_at(entry, "path"));
  const auto lfs = entry.find("lfs");
  const bool is_lfs = lfs != entry.end() && lfs->is_object();
  const json& source = is_lfs ? *lfs : entry;  // an LFS entry's own oid is that of its pointer file
  file.size = size_of(source, file.path);
  file.digest = string_at(source, "oid");
  if (file.digest.starts_with("sha256:")) file.digest.erase(0, 7);
  file.digest_kind = is_lfs ? HubDigest::kSha256 : HubDigest::kGitBlob;
  const size_t n_digits = is_lfs ? 64 : 40;
  if (!is_lower_hex(file.digest, n_digits)) {
    fail(ErrorKind::kFormat, "the hub gives no checksum for '{}': expected {} hexadecimal digits, found '{}'",
         file.path, n_digits, excerpt(file.digest));
  }
  return file;
}

}  // namespace

std::vector<HubFile> parse_hub_tree(std::string_view text) {
  const json page = parse_json(text, "the hub's list of files");
  if (!page.is_array())
    fail(ErrorKind::kFormat, "the hub's list of files: expected a JSON array, got '{}'", excerpt(text));
  std::vector<HubFile> files;
  for (const json& entry : page) {
    if (!entry.is_object()) fail(ErrorKind::kFormat, "the hub's list of files: an entry is not an object");
    if (string_at(entry, "type") == "file") files.push_back(tree_file(entry));
  }
  return files;
}

void check_hub_files(const std::vector<HubFile>& files) {
  std::set<std::string_view> paths;
  for (const HubFile& file : files) {
    if (!paths.insert(file.path).second) fail(ErrorKind::kFormat, "the hub lists '{}' twice", file.path);
  }
  for (const std::string_view path : paths) {
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      if (paths.count(path.substr(0, slash))) {
        fail(ErrorKind::kFormat, "the hub lists '{}' both as a file and as a folder", path.substr(0, slash));
      }
    }
  }
}

std::string dump_hub_files(const std::vector<HubFile>& files) {
  json out = json::array();
  for (const HubFile& file : files) {
    json entry = {{"type", "file"}, {"path", file.path}};
    json digest = {{"oid", file.digest}, {"size", file.size}};
    if (file.digest_kind == HubDigest::kSha256) {
      entry["lfs"] = digest;
    } else {
      entry.update(digest);
    }
    out.push_back(std::move(entry));
  }
  return out.dump(1, ' ', false, json::error_handler_t::replace);
}

std::vector<HubFile> parse_hub_files(std::string_view text) {
  std::vector<HubFile> files = parse_hub_tree(text);
  check_hub_files(files);
  return files;
}

bool is_commit(std::string_view text) { return is_lower_hex(text, 40); }

std::string parse_hub_commit(std::string_view text) {
  const json info = parse_json(text, "the hub's answer about the revision");
  std::string commit = info.is_object() ? string_at(info, "sha") : std::string();
  if (!is_commit(commit)) {
    fail(ErrorKind::kFormat,
         "the hub's answer about the revision: expected \"sha\" with 40 hexadecimal digits, found '{}'",
         excerpt(commit));
  }
  return commit;
}

std::vector<std::string> parse_shard_names(std::string_view text) {
  const json index = parse_json(text, "the index of the weight files");
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object() || map->empty()) {
    fail(ErrorKind::kFormat, "the index of the weight files: expected a \"weight_map\" that names their tensors");
  }
  std::set<std::string> shards;
  for (const json& shard : *map) {
    if (!shard.is_string()) fail(ErrorKind::kFormat, "the index of the weight files: a shard's name is not a string");
    shards.insert(safe_path(shard.get<std::string>()));
  }
  return {shards.begin(), shards.end()};
}

std::string next_link(std::string_view header) {
  // <url>; rel="next", <url>; rel="last"   -- a URL holds no '>' and no bare '<'.
  while (true) {
    const size_t open = header.find('<');
    if (open == header.npos) return {};
    const size_t close = header.find('>', open);
    if (close == header.npos) return {};
    const size_t end = std::min(header.find('<', close), header.size());
    const std::string_view parameters = header.substr(close, end - close);
    if (parameters.find("rel=\"next\"") != parameters.npos || parameters.find("rel=next") != parameters.npos) {
      return std::string(header.substr(open + 1, close - open - 1));
    }
    header.remove_prefix(end);
  }
}

}  // namespace hunch
