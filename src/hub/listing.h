// What the hub answers, as values: pure functions from text, fuzzed. Nothing here touches network or disk.
// API: https://huggingface.co/docs/hub/api (`/api/models/ID/revision/REV`, `/api/models/ID/tree/REV`).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

// How the hub vouches for a file's content.
enum class HubDigest {
  kSha256,   // large files: SHA-256 of the content
  kGitBlob,  // small files: SHA-1 of "blob SIZE\0" + content, git's own object id
};

struct HubFile {
  std::string path;  // '/'-separated, safe to join to a folder (is_safe_relative_path)
  uint64_t size = 0;
  HubDigest digest_kind = HubDigest::kSha256;
  std::string digest;  // lower-case hexadecimal: 64 digits (kSha256) or 40 (kGitBlob)
};

// The files of one page of a tree listing; folders are left out. Throws Error{kFormat} for text that
// is not such a listing, an entry without size or digest, and a path that would leave our folder.
std::vector<HubFile> parse_hub_tree(std::string_view json);

// Throws Error{kFormat} when two files of a listing have one path, or a file is also a folder.
void check_hub_files(const std::vector<HubFile>& files);

// The listing in a form of our own, for the cache; parse_hub_files reads it back with the same checks.
std::string dump_hub_files(const std::vector<HubFile>& files);
std::vector<HubFile> parse_hub_files(std::string_view json);

// The commit (40 hexadecimal digits) that `/api/models/ID/revision/REV` names. Throws Error{kFormat}.
std::string parse_hub_commit(std::string_view json);
bool is_commit(std::string_view text);

// The shards that a model.safetensors.index.json or pytorch_model.bin.index.json names in its
// weight_map, sorted, each once. Throws Error{kFormat}, also for unsafe paths.
std::vector<std::string> parse_shard_names(std::string_view index_json);

// The target of rel="next" in an HTTP Link header (RFC 8288), or empty.
std::string next_link(std::string_view link_header);

}  // namespace hunch
