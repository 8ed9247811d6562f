#include "text/hf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "io/printable.h"
#include "text/json_number.h"
#include "text/sentencepiece_model.h"
#include "text/tiktoken.h"
#include "text/tokenizer_json.h"
#include "text/vocab_merges.h"
#include "text/wordpiece.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

// The files beside the vocabulary; null where one is missing.
struct Companions {
  Json tokenizer_config, special_tokens_map, added_tokens, generation_config, config;
};

Json parse_object(const std::string& name, const std::string& text) {
  try {
    Json out = Json::parse(text);
    if (out.is_object()) return out;
  } catch (const Json::exception& e) {
    fail(ErrorKind::kFormat, "{}: {}", name, printable(e.what(), 300));
  }
  fail(ErrorKind::kFormat, "{}: expected a JSON object", name);
}

Json read_object(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  return parse_object(path.filename().string(), read_file(path));
}

const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

// A token is written as its text, or as an object with "content".
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && member(value, "content").is_string()) return value.at("content").get<std::string>();
  return std::nullopt;
}

bool flag(const Json& object, const char* key, bool fallback) {
  const Json& value = member(object, key);
  return value.is_boolean() ? value.get<bool>() : fallback;
}

std::optional<int32_t> id_of(const TokenizerSpec& spec, const std::string& piece) {
  const auto it = std::ranges::find(spec.pieces, piece);
  return it == spec.pieces.end() ? std::nullopt : std::optional(static_cast<int32_t>(it - spec.pieces.begin()));
}

// One id or a list of them, those that the vocabulary has.
std::vector<int32_t> ids_in(const Json& value, const TokenizerSpec& spec) {
  std::vector<int32_t> out;
  const auto take = [&](const Json& id) {
    if (!id.is_number_integer()) return;
    const int64_t n = id.get<int64_t>();
    if (n >= 0 && static_cast<uint64_t>(n) < spec.pieces.size()) out.push_back(static_cast<int32_t>(n));
  };
  if (value.is_array()) {
    for (const Json& id : value) take(id);
  } else {
    take(value);
  }
  return out;
}

// Adds a token that the vocabulary file does not have, or gives it its type. Ids are dense, so a token
// may extend the vocabulary by a few entries, not more.
void add_token(TokenizerSpec& spec, int64_t id, const std::string& text, bool special, const Json& rules) {
  if (id < 0 || static_cast<uint64_t>(id) > spec.pieces.size() + 4096) {
    fail(ErrorKind::kFormat, "added token '{}' has the id {} in a vocabulary of {}", printable(text), id,
         spec.pieces.size());
  }
  const auto i = static_cast<size_t>(id);
  pad_vocabulary(spec, i + 1);
  spec.pieces[i] = text;
  if (spec.types[i] != TokenType::kUnknown) spec.types[i] = special ? TokenType::kControl : TokenType::kUserDefined;
  if (!rules.is_object()) return;
  const TokenReach reach{static_cast<int32_t>(id), flag(rules, "lstrip", false), flag(rules, "rstrip", false),
                         flag(rules, "single_word", false),
                         !special && spec.kind != TokenizerKind::kByteBpe && spec.kind != TokenizerKind::kWordPiece &&
                             !flag(rules, "normalized", true)};
  std::erase_if(spec.reaches, [&](const TokenReach& r) { return r.id == reach.id; });
  if (reach.lstrip || reach.rstrip || reach.single_word || reach.verbatim) spec.reaches.push_back(reach);
}

// added_tokens.json ({text: id}) and tokenizer_config's added_tokens_decoder ({id: rules}).
void add_tokens(TokenizerSpec& spec, const Companions& files) {
  std::vector<std::pair<int64_t, std::string>> added;
  for (const auto& [text, id] : files.added_tokens.items())
    added.emplace_back(json_integer(id, "added_tokens.json"), text);
  std::ranges::sort(added);
  for (const auto& [id, text] : added) {
    const bool listed = spec.pieces.size() > static_cast<size_t>(std::max<int64_t>(id, 0)) && id_of(spec, text) == id;
    if (!listed) add_token(spec, id, text, true, Json());
  }
  const Json& decoder = member(files.tokenizer_config, "added_tokens_decoder");
  if (!decoder.is_object()) return;
  std::vector<std::pair<int64_t, const Json*>> rules;
  for (const auto& [id, rule] : decoder.items()) {
    int64_t n = -1;
    if (!id.empty() && id.size() < 10 && std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; }))
      n = std::stoll(id);
    rules.emplace_back(n, &rule);
  }
  std::ranges::sort(rules, {}, &std::pair<int64_t, const Json*>::first);
  for (const auto& [id, rule] : rules)
    add_token(spec, id, rule->at("content").get<std::string>(), flag(*rule, "special", false), *rule);
}

// The special token of that role: by name from the tokenizer's files, else by id from the model's.
std::optional<int32_t> special_id(const TokenizerSpec& spec, const Companions& files, const std::string& role) {
  for (const Json* file : {&files.tokenizer_config, &files.special_tokens_map}) {
    const std::optional<std::string> text = token_text(member(*file, (role + "_token").c_str()));
    if (!text) continue;
    if (const auto id = id_of(spec, *text)) return id;
  }
  for (const Json* file : {&files.generation_config, &files.config}) {
    const std::vector<int32_t> ids = ids_in(member(*file, (role + "_token_id").c_str()), spec);
    if (!ids.empty()) return ids[0];
  }
  return std::nullopt;
}

void name_special_tokens(TokenizerSpec& spec, const Companions& files, bool is_opt) {
  const auto role = [&](std::optional<int32_t>& id, const char* name, bool keep) {
    if (keep && id) return;
    if (const auto found = special_id(spec, files, name)) id = found;
  };
  role(spec.bos, "bos", spec.add_bos);  // what the post-processor adds is what it says
  role(spec.eos, "eos", spec.add_eos);
  role(spec.pad, "pad", false);
  role(spec.unk, "unk", spec.unk.has_value());
  // OPT was published with a vocabulary and no word on its special tokens: </s> begins and ends a text.
  if (is_opt && !spec.bos) spec.bos = id_of(spec, "</s>");
  if (is_opt && !spec.eos) spec.eos = id_of(spec, "</s>");

  const auto make_control = [&](std::optional<int32_t> id) {
    if (!id) return;
    TokenType& type = spec.types[static_cast<size_t>(*id)];
    if (type != TokenType::kUnknown) type = TokenType::kControl;
  };
  for (const auto& id : {spec.bos, spec.eos, spec.pad}) make_control(id);
  if (spec.kind == TokenizerKind::kByteBpe) make_control(spec.unk);
  if (is_opt) {
    for (const char* text : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"}) make_control(id_of(spec, text));
  }
  for (const Json* file : {&files.tokenizer_config, &files.special_tokens_map}) {
    const Json& more = member(*file, "additional_special_tokens");
    if (!more.is_array()) continue;
    for (const Json& token : more) {
      if (const auto text = token_text(token)) make_control(id_of(spec, *text));
    }
  }
}

void read_ends(TokenizerSpec& spec, const Companions& files) {
  for (const Json* file : {&files.generation_config, &files.config}) {
    for (int32_t id : ids_in(member(*file, "eos_token_id"), spec)) {
      if (id != spec.eos && id != spec.eot && std::ranges::find(spec.extra_eog, id) == spec.extra_eog.end()) {
        spec.extra_eog.push_back(id);
      }
    }
  }
}

std::string chat_template(const fs::path& folder, const Companions& files) {
  if (fs::exists(folder / "chat_template.jinja")) return read_file(folder / "chat_template.jinja");
  const auto from = [](const Json& value) -> std::string {
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_array()) return "";
    std::string first;
    for (const Json& entry : value) {  // [{name, template}, ...]
      if (!entry.is_object() || !member(entry, "template").is_string()) continue;
      if (member(entry, "name") == "default") return entry.at("template").get<std::string>();
      if (first.empty()) first = entry.at("template").get<std::string>();
    }
    return first;
  };
  const std::string own = from(member(read_object(folder / "chat_template.json"), "chat_template"));
  return own.empty() ? from(member(files.tokenizer_config, "chat_template")) : own;
}

// What the tokenizer classes of the transformers library do where the vocabulary file is silent.
void apply_class_rules(TokenizerSpec& spec, const Companions& files, const std::string& model_type) {
  const Json& config = files.tokenizer_config;
  if (spec.kind == TokenizerKind::kWordPiece) return;  // its vocabulary says it all
  const bool is_t5 = model_type == "t5" || model_type == "mt5" || model_type == "umt5";
  bool bos = false, eos = false;
  if (spec.kind == TokenizerKind::kByteBpe) {
    eos = model_type == "roberta";  // <s> text </s>
    bos = spec.add_bos || model_type == "opt" || eos;
  } else {
    bos = !is_t5;
    eos = is_t5;
  }
  spec.add_bos = flag(config, "add_bos_token", bos) && spec.bos;
  spec.add_eos = flag(config, "add_eos_token", eos) && spec.eos;
  if (spec.kind == TokenizerKind::kByteBpe) {
    spec.add_space_prefix = flag(config, "add_prefix_space", false);
  } else {
    spec.add_space_prefix = flag(config, "add_prefix_space", spec.add_space_prefix);
    spec.prefix_first_only = !flag(config, "legacy", true);
  }
}

// Which family of patterns a vocab.json + merges.txt belongs to: the tokenizer classes hard-code it.
std::string pre_of(const std::string& model_type, const Json& config) {
  const std::string tokenizer_class = token_text(member(config, "tokenizer_class")).value_or("");
  if (model_type.starts_with("qwen") || tokenizer_class.starts_with("Qwen2")) return "qwen2";
  if (model_type == "starcoder2" || model_type == "gpt_bigcode") return "starcoder";
  return "gpt-2";
}

TokenizerSpec read_vocab_files(const fs::path& folder, const std::string& model_type, const Companions& files) {
  if (!fs::exists(folder / "merges.txt")) {
    fail(ErrorKind::kNotFound, "{} has vocab.json but no merges.txt", folder.string());
  }
  TokenizerSpec spec = parse_vocab_and_merges(read_file(folder / "vocab.json"), read_file(folder / "merges.txt"));
  spec.pre = pre_of(model_type, files.tokenizer_config);
  spec.nfc = spec.pre == "qwen2";
  return spec;
}

// BertTokenizer's flags; Hugging Face strips accents where it lowers case, unless told otherwise.
TokenizerSpec read_vocab_txt(const fs::path& folder, const Companions& files) {
  TokenizerSpec spec = parse_wordpiece_vocab(read_file(folder / "vocab.txt"));
  BertNormalizer normalizer;
  normalizer.lower_case = flag(files.tokenizer_config, "do_lower_case", true);
  normalizer.strip_accents = flag(files.tokenizer_config, "strip_accents", normalizer.lower_case);
  normalizer.space_chinese = flag(files.tokenizer_config, "tokenize_chinese_chars", true);
  spec.normalizers = steps_of(normalizer);
  return spec;
}

TokenizerSpec read(const fs::path& folder, const std::string& model_type, const std::string& config_json) {
  Companions files;
  files.tokenizer_config = read_object(folder / "tokenizer_config.json");
  files.special_tokens_map = read_object(folder / "special_tokens_map.json");
  files.added_tokens = read_object(folder / "added_tokens.json");
  files.generation_config = read_object(folder / "generation_config.json");
  files.config = config_json.empty() ? Json::object() : parse_object("config.json", config_json);

  TokenizerSpec spec;
  const bool from_json = fs::exists(folder / "tokenizer.json");
  if (from_json) {
    spec = parse_tokenizer_json(read_file(folder / "tokenizer.json"));
  } else if (fs::exists(folder / "tokenizer.model")) {
    const std::string bytes = read_file(folder / "tokenizer.model");
    spec = is_tiktoken(bytes) ? parse_tiktoken(bytes) : parse_sentencepiece_model(bytes);
    add_tokens(spec, files);
  } else if (!fs::exists(folder / "vocab.json")) {
    spec = read_vocab_txt(folder, files);
    add_tokens(spec, files);
  } else {
    spec = read_vocab_files(folder, model_type, files);
    add_tokens(spec, files);
  }
  name_special_tokens(spec, files, model_type == "opt" && !from_json);
  if (!from_json) {
    apply_class_rules(spec, files, model_type);
  } else if (token_text(member(files.tokenizer_config, "tokenizer_class")) != "PreTrainedTokenizerFast") {
    // The other fast classes let these two flags overrule the post-processor.
    spec.add_bos = flag(files.tokenizer_config, "add_bos_token", spec.add_bos) && spec.bos;
    spec.add_eos = flag(files.tokenizer_config, "add_eos_token", spec.add_eos) && spec.eos;
  }
  read_ends(spec, files);
  spec.chat_template = chat_template(folder, files);
  return spec;
}

}  // namespace

std::optional<TokenizerSpec> tokenizer_spec_from_hf_folder(const fs::path& folder, const std::string& model_type,
                                                           const std::string& config_json) {
  const bool any = std::ranges::any_of(
      std::initializer_list<const char*>{"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"},
      [&](const char* name) { return fs::exists(folder / name); });
  if (!any) return std::nullopt;
  try {
    return read(folder, model_type, config_json);
  } catch (const Json::exception& e) {
    fail(ErrorKind::kFormat, "{}: {}", folder.string(), printable(e.what(), 300));
  } catch (const Error& e) {
    throw Error(e.kind(), folder.string() + ": " + e.what());
  }
}

}  // namespace hunch
