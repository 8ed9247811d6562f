#include "text/tokenizer_json_steps.h"

#include <limits>

#include "base/error.h"
#include "io/printable.h"
#include "text/base64.h"
#include "text/json_number.h"
#include "text/pre_tokenizer.h"
#include "text/wordpiece.h"

namespace hunch::tokenizer_json {
namespace {

[[noreturn]] void refuse(const char* section, const Json& step, const std::string& why) {
  fail(ErrorKind::kUnsupported, "tokenizer.json: {} step '{}' {}", section, printable(type_of(step)), why);
}

// A literal string as a pattern.
std::string quote(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c)) && c != ' ' && c >= 0x20) {
      out += '\\';
    }
    out += c;
  }
  return out;
}

// {"String": ...} or {"Regex": ...}.
struct Pattern {
  std::string text;
  bool is_regex = false;
  std::string as_regex() const { return is_regex ? text : quote(text); }
};

Pattern pattern_of(const Json& step) {
  const Json& pattern = step.at("pattern");
  if (pattern.is_string()) return {pattern.get<std::string>(), false};
  if (pattern.contains("Regex")) return {pattern.at("Regex").get<std::string>(), true};
  return {pattern.at("String").get<std::string>(), false};
}

// The pattern whose matches, isolated, are the pieces that `behavior` makes of the matches of `pattern`.
std::string isolate(const char* section, const Json& step, const std::string& pattern, const std::string& behavior,
                    bool invert) {
  if (behavior == "Isolated") return pattern;
  // "Only the matches": the same where the pattern matches everything, as those in use do.
  if (behavior == "Removed" && invert) return pattern;
  if (invert) refuse(section, step, "is inverted with behavior " + behavior + ", which is not supported");
  if (behavior == "Contiguous") return "(?:" + pattern + ")+";
  if (behavior == "MergedWithPrevious") return "(?s:.*?)(?:" + pattern + ")|(?s:.+)";
  if (behavior == "MergedWithNext")
    return "(?:" + pattern + ")(?s:.*?)(?=" + pattern + "|\\z)|(?s:.+?)(?=" + pattern + "|\\z)";
  refuse(section, step, "has the behavior " + behavior + ", which is not supported");
}

constexpr char kPre[] = "pre-tokeniser";
constexpr char kNorm[] = "normaliser";

void read_metaspace(const Json& step, TokenizerSpec& spec) {
  if (spec.kind == TokenizerKind::kByteBpe) refuse(kPre, step, "does not go with a byte-level model");
  if (step.value("replacement", std::string(kSpaceMark)) != kSpaceMark)
    refuse(kPre, step, "replaces spaces by other than U+2581");
  // The older form has add_prefix_space, the newer prepend_scheme.
  const std::string scheme = step.value("prepend_scheme", flag(step, "add_prefix_space", true) ? "always" : "never");
  if (scheme != "never") {
    spec.add_space_prefix = true;
    spec.prefix_unless_space = true;
    spec.prefix_first_only = scheme == "first";
  }
  if (flag(step, "split", true)) {
    const std::string mark(kSpaceMark);
    spec.pre_patterns.push_back(mark + "[^" + mark + "]*|[^" + mark + "]+");
  }
}

void read_byte_level(const Json& step, TokenizerSpec& spec) {
  if (flag(step, "add_prefix_space", true)) spec.add_space_prefix = true;
  if (flag(step, "use_regex", true)) spec.pre_patterns.emplace_back(kGpt2Pattern);
}

// Words apart, white space gone: collapsed first, so that only the marks are left to split at.
void read_whitespace_split(const Json& step, TokenizerSpec& spec) {
  if (spec.kind == TokenizerKind::kByteBpe) refuse(kPre, step, "would lose the white space of a byte-level model");
  using Kind = NormalizerStep::Kind;
  spec.normalizers.push_back({Kind::kReplaceRegex, "\\s+", " "});
  spec.normalizers.push_back({Kind::kStripLeft, "", ""});
  spec.normalizers.push_back({Kind::kStripRight, "", ""});
}

}  // namespace

const Json& at_or_null(const Json& object, const char* key) {
  static const Json kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

std::string type_of(const Json& step) {
  if (!step.is_object()) fail(ErrorKind::kFormat, "tokenizer.json: a step is not an object");
  return at_or_null(step, "type").is_string() ? step.at("type").get<std::string>() : std::string();
}

bool flag(const Json& step, const char* key, bool fallback) {
  const Json& value = at_or_null(step, key);
  return value.is_boolean() ? value.get<bool>() : fallback;
}

std::vector<const Json*> flatten(const Json& section, const char* list_key) {
  std::vector<const Json*> out;
  const auto walk = [&](const Json& step, int depth, const auto& self) -> void {
    if (step.is_null()) return;
    if (depth > kMaxDepth) fail(ErrorKind::kFormat, "tokenizer.json: sequences nested more than {} deep", kMaxDepth);
    if (type_of(step) != "Sequence") {
      out.push_back(&step);
      return;
    }
    for (const Json& child : step.at(list_key)) self(child, depth + 1, self);
  };
  walk(section, 0, walk);
  return out;
}

void read_normalizer(const Json& section, TokenizerSpec& spec) {
  using Kind = NormalizerStep::Kind;
  const bool byte_level = spec.kind == TokenizerKind::kByteBpe;
  const auto add = [&](Kind kind) { spec.normalizers.push_back({kind, "", ""}); };
  for (const Json* step : flatten(section, "normalizers")) {
    const std::string type = type_of(*step);
    if (type == "NFC") {
      add(Kind::kNfc);
    } else if (type == "NFD") {
      add(Kind::kNfd);
    } else if (type == "NFKC") {
      add(Kind::kNfkc);
    } else if (type == "NFKD") {
      add(Kind::kNfkd);
    } else if (type == "BertNormalizer") {
      BertNormalizer bert;
      bert.clean_text = flag(*step, "clean_text", true);
      bert.space_chinese = flag(*step, "handle_chinese_chars", true);
      bert.lower_case = flag(*step, "lowercase", true);
      bert.strip_accents = flag(*step, "strip_accents", bert.lower_case);
      for (NormalizerStep& one : steps_of(bert)) spec.normalizers.push_back(std::move(one));
    } else if (type == "Lowercase") {
      add(Kind::kLowercase);
    } else if (type == "Strip") {
      if (flag(*step, "strip_left", true)) add(Kind::kStripLeft);
      if (flag(*step, "strip_right", true)) add(Kind::kStripRight);
    } else if (type == "Replace") {
      const Pattern pattern = pattern_of(*step);
      const std::string to = step->at("content").get<std::string>();
      if (!byte_level && !pattern.is_regex && pattern.text == " " && to == kSpaceMark) continue;  // always done
      spec.normalizers.push_back({pattern.is_regex ? Kind::kReplaceRegex : Kind::kReplace, pattern.text, to});
    } else if (type == "Prepend") {
      const std::string prefix = step->at("prepend").get<std::string>();
      if (byte_level || prefix != kSpaceMark) refuse(kNorm, *step, "prepends other than U+2581");
      spec.add_space_prefix = true;
    } else if (type == "Precompiled") {
      if (!spec.normalizers.empty()) refuse(kNorm, *step, "does not come first");
      const Json& map = at_or_null(*step, "precompiled_charsmap");
      if (map.is_null()) continue;
      const std::optional<std::string> blob = decode_base64(map.get<std::string>());
      if (!blob) fail(ErrorKind::kFormat, "tokenizer.json: precompiled_charsmap is not base64");
      spec.charsmap = *blob;
    } else if (type != "ByteLevel") {  // a byte-level model does that anyway
      refuse(kNorm, *step, "is not supported");
    }
  }
  if (!spec.normalizers.empty() && spec.normalizers[0].kind == Kind::kNfc && spec.charsmap.empty()) {
    spec.nfc = true;
    spec.normalizers.erase(spec.normalizers.begin());
  }
}

void read_pre_tokenizer(const Json& section, TokenizerSpec& spec) {
  if (spec.kind == TokenizerKind::kWordPiece && section.is_null())
    fail(ErrorKind::kUnsupported, "tokenizer.json: WordPiece without a pre-tokeniser, expected BertPreTokenizer");
  bool after_bytes = false;  // the steps after ByteLevel see its alphabet, in which only ASCII keeps its class
  for (const Json* step : flatten(section, "pretokenizers")) {
    const std::string type = type_of(*step);
    if ((type == "BertPreTokenizer") != (spec.kind == TokenizerKind::kWordPiece))
      refuse(kPre, *step, "does not go with this model, expected BertPreTokenizer and WordPiece");
    if (type == "BertPreTokenizer") continue;  // WordPiece always does that
    if (type == "ByteLevel") {
      read_byte_level(*step, spec);
      after_bytes = true;
    } else if (type == "Split") {
      spec.pre_patterns.push_back(isolate(kPre, *step, pattern_of(*step).as_regex(),
                                          step->value("behavior", std::string("Isolated")),
                                          flag(*step, "invert", false)));
    } else if (type == "Digits") {
      const std::string digit = after_bytes ? "[0-9]" : "\\p{N}";
      spec.pre_patterns.push_back(flag(*step, "individual_digits", false) ? digit : digit + "+");
    } else if (type == "Punctuation") {
      if (after_bytes) refuse(kPre, *step, "comes after ByteLevel");
      const std::string behavior = step->value("behavior", std::string("Isolated"));
      const std::string set(kPunctuationSet);
      spec.pre_patterns.push_back(behavior == "Contiguous" ? set + "+" : isolate(kPre, *step, set, behavior, false));
    } else if (type == "Metaspace") {
      read_metaspace(*step, spec);
    } else if (type == "WhitespaceSplit") {
      read_whitespace_split(*step, spec);
    } else {
      refuse(kPre, *step, "is not supported");
    }
  }
}

void read_post_processor(const Json& section, TokenizerSpec& spec) {
  const auto set = [&](std::optional<int32_t>& id, bool& add, const Json& value) {
    const int64_t n = json_integer(value, "tokenizer.json: post_processor");
    if (n < 0 || n > std::numeric_limits<int32_t>::max()) {
      fail(ErrorKind::kFormat, "tokenizer.json: the post-processor adds the token {}", n);
    }
    id = static_cast<int32_t>(n);
    add = true;
  };
  for (const Json* step : flatten(section, "processors")) {
    const std::string type = type_of(*step);
    if (type == "RobertaProcessing" || type == "BertProcessing") {
      set(spec.bos, spec.add_bos, step->at("cls").at(1));
      set(spec.eos, spec.add_eos, step->at("sep").at(1));
    } else if (type == "TemplateProcessing") {
      int n_before = 0, n_after = 0;
      bool text_seen = false;
      for (const Json& item : step->at("single")) {
        if (item.contains("Sequence")) {
          text_seen = true;
          continue;
        }
        const Json& ids = step->at("special_tokens").at(item.at("SpecialToken").at("id").get<std::string>()).at("ids");
        for (const Json& id : ids) {
          if (text_seen) {
            if (n_after++ == 0) set(spec.eos, spec.add_eos, id);
          } else if (n_before++ == 0) {
            set(spec.bos, spec.add_bos, id);
          }
        }
      }
      if (n_before > 1 || n_after > 1) {
        spec.note =
            fmt::format("tokenizer.json puts {} tokens before and {} after a text; only the first of each is added",
                        n_before, n_after);
      }
    } else if (type != "ByteLevel") {
      refuse("post-processor", *step, "is not supported");
    }
  }
}

void read_decoder(const Json& section, TokenizerSpec& spec) {
  for (const Json* step : flatten(section, "decoders")) {
    const std::string type = type_of(*step);
    const Json &pattern = at_or_null(*step, "pattern"), &content = at_or_null(*step, "content");
    const bool spaces = pattern.is_object() && at_or_null(pattern, "String") == kSpaceMark && content == " ";
    if ((type == "WordPiece" && spec.kind == TokenizerKind::kWordPiece) || type == "ByteLevel" ||
        type == "ByteFallback" || type == "Fuse" || type == "Metaspace" || (type == "Strip" && content == " ") ||
        (type == "Replace" && spaces))
      continue;
    spec.note += fmt::format("{}tokenizer.json's decoder has a step that is not taken, so that texts may differ: {}",
                             spec.note.empty() ? "" : "; ", printable(step->dump(), 120));
  }
}

}  // namespace hunch::tokenizer_json
