#include "hub/id.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

constexpr size_t kMaxRepoBytes = 96;  // the hub's own limit on "org/name"
constexpr size_t kMaxPathBytes = 1024;
constexpr size_t kMaxComponentBytes = 255;  // what ext4, xfs and APFS allow

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// One half of "org/name". The hub allows no "--", which makes "org--name" a unique folder name.
bool is_repo_word(std::string_view word) {
  if (word.empty()) return false;
  for (char c : word) {
    if (!is_alnum(c) && c != '-' && c != '_' && c != '.') return false;
  }
  const auto is_edge = [](char c) { return c == '-' || c == '.'; };
  if (is_edge(word.front()) || is_edge(word.back())) return false;
  return word.find("--") == word.npos && word.find("..") == word.npos;
}

bool is_repo(std::string_view repo) {
  if (repo.size() > kMaxRepoBytes) return false;
  const size_t slash = repo.find('/');
  if (slash == repo.npos) return is_repo_word(repo);
  return is_repo_word(repo.substr(0, slash)) && is_repo_word(repo.substr(slash + 1));
}

HubId split(std::string_view text) {
  HubId id;
  const size_t end_of_repo = std::min(text.find_first_of("@:"), text.size());
  id.repo = text.substr(0, end_of_repo);
  text.remove_prefix(end_of_repo);
  if (text.starts_with('@')) {  // git forbids ':' in a revision, so the next one starts the selector
    const size_t end = std::min(text.find(':'), text.size());
    id.revision = text.substr(1, end - 1);
    text.remove_prefix(end);
    if (id.revision.empty()) fail(ErrorKind::kUsage, "'@' is followed by no revision; expected ORG/NAME@REVISION");
  }
  if (text.starts_with(':')) {
    id.selector = text.substr(1);
    if (id.selector.empty())
      fail(ErrorKind::kUsage, "':' is followed by nothing; expected ORG/NAME:FILE or ORG/NAME:QUANT");
  }
  return id;
}

}  // namespace

bool is_safe_relative_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (component.empty() || component == "." || component == ".." || component.size() > kMaxComponentBytes)
      return false;
    begin = end + 1;
  }
  return std::none_of(path.begin(), path.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; });
}

HubId parse_hub_id(std::string_view text) {
  HubId id = split(text);
  if (!is_repo(id.repo)) {
    fail(ErrorKind::kUsage, "'{}' is not a model id of the hub; expected ORG/NAME, as in facebook/opt-1.3b", id.repo);
  }
  if (!id.revision.empty() && !is_safe_relative_path(id.revision)) {
    fail(ErrorKind::kUsage, "'{}' cannot be a revision; expected a branch, a tag or a commit", id.revision);
  }
  if (!id.selector.empty() && !is_safe_relative_path(id.selector)) {
    fail(ErrorKind::kUsage, "'{}' cannot be a file or a quantisation; expected a name such as model-q4_0.gguf or Q4_0",
         id.selector);
  }
  return id;
}

bool looks_like_hub_id(std::string_view text) {
  const std::string_view repo = text.substr(0, text.find_first_of("@:"));
  if (repo.find('/') == repo.npos || repo.ends_with(".gguf") || repo.ends_with(".bin")) return false;
  try {
    parse_hub_id(text);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace hunch
