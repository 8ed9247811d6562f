#include "hub/choice.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

#include "base/error.h"
#include "hub/lower.h"

namespace hunch {
namespace {

constexpr std::string_view kConfig = "config.json";

// Small files of an HF folder that say how to run the model and how to cut its text.
constexpr std::array<std::string_view, 16> kSmallFiles = {"config.json",
                                                          "generation_config.json",
                                                          "tokenizer.json",
                                                          "tokenizer_config.json",
                                                          "special_tokens_map.json",
                                                          "added_tokens.json",
                                                          "vocab.json",
                                                          "merges.txt",
                                                          "vocab.txt",
                                                          "tokenizer.model",
                                                          "spiece.model",
                                                          "sentencepiece.bpe.model",
                                                          "chat_template.jinja",
                                                          "chat_template.json",
                                                          "modules.json",
                                                          "1_Pooling/config.json"};

// Weights of an HF folder, best first: the first one listed is taken, and only that one. Everything
// else (tf_model.h5, flax, onnx/, original/, consolidated.*) holds the same weights again.
constexpr std::array<std::string_view, 4> kWeights = {"model.safetensors", "model.safetensors.index.json",
                                                      "pytorch_model.bin", "pytorch_model.bin.index.json"};

const HubFile* find(const std::vector<HubFile>& files, std::string_view path) {
  const auto it = std::find_if(files.begin(), files.end(), [&](const HubFile& f) { return f.path == path; });
  return it == files.end() ? nullptr : &*it;
}

// A GGUF's path without ".gguf" and without the "-00001-of-00003" of a shard: equal for all shards.
std::string gguf_stem(std::string_view path) {
  std::string stem = lower(path.substr(0, path.size() - 5));
  constexpr size_t kShardSuffix = 15;  // "-00001-of-00003"
  if (stem.size() <= kShardSuffix) return stem;
  const std::string_view suffix = std::string_view(stem).substr(stem.size() - kShardSuffix);
  const auto is_number = [&](size_t at) {
    return std::all_of(suffix.begin() + at, suffix.begin() + at + 5, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (suffix[0] == '-' && is_number(1) && suffix.substr(6, 4) == "-of-" && is_number(10))
    stem.resize(stem.size() - kShardSuffix);
  return stem;
}

// GGUF files by stem, shards in order. Projectors of vision models are no models of their own.
using GgufGroups = std::map<std::string, std::vector<HubFile>>;

GgufGroups gguf_groups(const std::vector<HubFile>& files) {
  GgufGroups groups;
  for (const HubFile& file : files) {
    if (!lower(file.path).ends_with(".gguf")) continue;
    std::string stem = gguf_stem(file.path);
    if (stem.find("mmproj") == stem.npos) groups[std::move(stem)].push_back(file);
  }
  for (auto& [stem, shards] : groups) {
    std::sort(shards.begin(), shards.end(), [](const HubFile& a, const HubFile& b) { return a.path < b.path; });
  }
  return groups;
}

// Where `quant` stands as a word of the stem: 2 as its last word, 1 as another one, 0 nowhere. '_' belongs
// to the names of quantisations, so it ends no word on the right: "q4_k" is not a word of "m-q4_k_m".
int quant_match(std::string_view stem, std::string_view quant) {
  int best = 0;
  for (size_t at = stem.find(quant); at != stem.npos; at = stem.find(quant, at + 1)) {
    const size_t end = at + quant.size();
    const bool left = at == 0 || !std::isalnum(static_cast<unsigned char>(stem[at - 1]));
    const bool right = end == stem.size() || std::string_view("-./").find(stem[end]) != std::string_view::npos;
    if (left && right) best = std::max(best, end == stem.size() ? 2 : 1);
  }
  return best;
}

std::string human_size(uint64_t bytes) {
  return bytes >= 1000000000 ? fmt::format("{:.1f} GB", double(bytes) / 1e9)
                             : fmt::format("{:.1f} MB", double(bytes) / 1e6);
}

// "\n  name (1.2 GB)" for each file; long lists are cut.
std::string list_files(const std::vector<HubFile>& files) {
  constexpr size_t kMaxListed = 60;
  std::string out;
  for (size_t i = 0; i < std::min(files.size(), kMaxListed); i++) {
    out += fmt::format("\n  {} ({})", files[i].path, human_size(files[i].size));
  }
  if (files.size() > kMaxListed) out += fmt::format("\n  ... and {} more", files.size() - kMaxListed);
  return out;
}

std::string list_groups(const GgufGroups& groups) {
  std::vector<HubFile> first;
  for (const auto& [stem, shards] : groups) {
    first.push_back(shards.front());
    for (size_t i = 1; i < shards.size(); i++) first.back().size += shards[i].size;
  }
  return list_files(first);
}

HubChoice choose_group(const std::vector<HubFile>& shards) {
  HubChoice choice;
  choice.files = shards;
  choice.main_file = shards.front().path;
  return choice;
}

HubChoice choose_quant(const std::vector<HubFile>& files, std::string_view selector, const std::string& repo) {
  const GgufGroups groups = gguf_groups(files);
  const std::string quant = lower(selector);
  std::array<GgufGroups, 3> matches;  // by quant_match
  for (const auto& [stem, shards] : groups) matches[size_t(quant_match(stem, quant))].emplace(stem, shards);
  const GgufGroups& best = matches[2].empty() ? matches[1] : matches[2];
  if (best.size() == 1) return choose_group(best.begin()->second);
  if (best.size() > 1) {
    fail(ErrorKind::kNotFound, "'{}' has more than one GGUF for '{}'; name the file, as in {}:{}. They are:{}", repo,
         selector, repo, best.begin()->second.front().path, list_groups(best));
  }
  if (groups.empty()) {
    fail(ErrorKind::kNotFound, "'{}' has neither a file '{}' nor any GGUF. Its files are:{}", repo, selector,
         list_files(files));
  }
  fail(ErrorKind::kNotFound, "'{}' has no file and no GGUF quantisation '{}'. Its GGUF files are:{}", repo, selector,
       list_groups(groups));
}

HubChoice choose_path(const std::vector<HubFile>& files, const HubFile& named) {
  if (lower(named.path).ends_with(".gguf")) {
    const GgufGroups groups = gguf_groups(files);
    const auto group = groups.find(gguf_stem(named.path));
    if (group != groups.end()) return choose_group(group->second);
  }
  return choose_group({named});
}

HubChoice choose_folder(const std::vector<HubFile>& files, const std::string& repo) {
  HubChoice choice;
  for (const std::string_view name : kSmallFiles) {
    if (const HubFile* file = find(files, name)) choice.files.push_back(*file);
  }
  for (const std::string_view name : kWeights) {
    const HubFile* file = find(files, name);
    if (!file) continue;
    choice.files.push_back(*file);
    if (name.ends_with(".index.json")) choice.index_file = name;
    return choice;
  }
  fail(ErrorKind::kUnsupported,
       "'{}' has a config.json but neither model.safetensors nor pytorch_model.bin (nor their index). Its files are:{}",
       repo, list_files(files));
}

}  // namespace

HubChoice choose_hub_files(const std::vector<HubFile>& files, std::string_view selector, const std::string& repo) {
  if (!selector.empty()) {
    const HubFile* named = find(files, selector);
    return named ? choose_path(files, *named) : choose_quant(files, selector, repo);
  }
  const GgufGroups groups = gguf_groups(files);
  const bool has_weights = std::any_of(kWeights.begin(), kWeights.end(),
                                       [&](std::string_view name) { return find(files, name) != nullptr; });
  // GGUF repositories often carry the original's config.json: it takes weights to make a folder.
  if (find(files, kConfig) && (has_weights || groups.empty())) return choose_folder(files, repo);
  if (groups.size() == 1) return choose_group(groups.begin()->second);
  if (groups.size() > 1) {
    fail(ErrorKind::kNotFound, "'{}' has {} GGUF files; choose one by quantisation or name, as in {}:{}. They are:{}",
         repo, groups.size(), repo, groups.begin()->second.front().path, list_groups(groups));
  }
  fail(ErrorKind::kUnsupported,
       "'{}' has neither a config.json nor a GGUF; hunch reads HF folders and GGUF files. Its files are:{}", repo,
       list_files(files));
}

void add_shards(HubChoice& choice, const std::vector<HubFile>& files, std::string_view index_json) {
  for (const std::string& shard : parse_shard_names(index_json)) {
    if (find(choice.files, shard)) continue;
    const HubFile* file = find(files, shard);
    if (!file)
      fail(ErrorKind::kFormat, "'{}' names the shard '{}', which the hub does not list", choice.index_file, shard);
    choice.files.push_back(*file);
  }
  choice.index_file.clear();
}

}  // namespace hunch
