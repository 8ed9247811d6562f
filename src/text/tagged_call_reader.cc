// Calls whose arguments stand between marks, or in braces with marks around texts: made JSON.
#include <algorithm>

#include "text/tool_call_reader.h"

namespace hunch {
namespace {

using OrderedJson = nlohmann::ordered_json;
using PartKind = ToolPart::Kind;

constexpr std::string_view kBlank = " \n\t\r";

bool is_blank(char c) { return kBlank.find(c) != kBlank.npos; }

// The inside of a JSON text. Bytes of characters beyond ASCII are passed on, so that a text may come in pieces.
std::string escaped(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (uint8_t(c) < 0x20) {
          out += "\\u00";
          out += kDigits[uint8_t(c) >> 4];
          out += kDigits[uint8_t(c) & 15];
        } else {
          out += c;
        }
    }
  }
  return out;
}

// What a word that is no text stands for, as JSON; Python's names for constants too. Empty: it is none.
std::string literal(std::string_view word) {
  if (word == "True") return "true";
  if (word == "False") return "false";
  if (word == "None") return "null";
  return OrderedJson::accept(word) ? std::string(word) : std::string();
}

// The schema of one parameter; null where the tool says nothing of it.
const OrderedJson* schema_of(const std::vector<Tool>& tools, std::string_view tool, const std::string& parameter) {
  const auto found = std::ranges::find(tools, tool, &Tool::name);
  if (found == tools.end() || !found->parameters.is_object()) return nullptr;
  const auto properties = found->parameters.find("properties");
  if (properties == found->parameters.end() || !properties->is_object()) return nullptr;
  const auto schema = properties->find(parameter);
  return schema == properties->end() || !schema->is_object() ? nullptr : &*schema;
}

// A text and nothing else.
bool is_text_only(const OrderedJson* schema) {
  if (!schema) return false;
  const auto type = schema->find("type");
  return type != schema->end() && *type == "string";
}

bool may_be_text(const OrderedJson* schema) {
  if (!schema) return true;
  const auto type = schema->find("type");
  if (type == schema->end()) return true;
  return *type == "string" || (type->is_array() && std::ranges::find(*type, "string") != type->end());
}

class TaggedCallReader : public CallReader {
 public:
  TaggedCallReader(const ToolSyntax& syntax, std::string_view mark, const std::vector<Tool>& tools)
      : syntax_(syntax),
        tools_(tools),
        at_(mark == syntax.name_open || syntax.name_open.empty() ? At::kName : At::kBeforeName) {}

  State step(char c, std::vector<ToolPart>& out) override {
    if (at_ == At::kValue) return in_value(c, out);
    held_ += c;
    if (held_.size() > 1000) return State::kNoCall;
    switch (at_) {
      case At::kBeforeName:
        if (!skip_space_to(syntax_.name_open)) return State::kNoCall;
        if (held_ == syntax_.name_open) move_to(At::kName);
        return State::kMore;
      case At::kName: return in_name(out);
      case At::kBetween: return between(out);
      case At::kKey:
        if (!held_.ends_with(syntax_.key_close)) return State::kMore;
        key_ = held_.substr(0, held_.size() - syntax_.key_close.size());
        if (syntax_.value_open.empty()) return begin_value(out);
        return move_to(At::kBeforeValue);
      case At::kBeforeValue:
        if (!skip_space_to(syntax_.value_open)) return State::kNoCall;
        return held_ == syntax_.value_open ? begin_value(out) : State::kMore;
      case At::kValue: break;
    }
    return State::kNoCall;
  }

 private:
  enum class At : uint8_t { kBeforeName, kName, kBetween, kKey, kBeforeValue, kValue };

  State move_to(At at) {
    at_ = at;
    held_.clear();
    return State::kMore;
  }
  // Whether what is held, without space before it, begins the mark.
  bool skip_space_to(std::string_view mark) {
    held_.erase(0, std::min(held_.find_first_not_of(kBlank), held_.size()));
    return mark.starts_with(held_);
  }

  State in_name(std::vector<ToolPart>& out) {
    // A name is ended by its mark; where there is none, by a line end or the next mark.
    const char last = held_.back();
    if (!syntax_.name_close.empty()) {
      if (!held_.ends_with(syntax_.name_close)) return last == '\n' ? State::kNoCall : State::kMore;
      held_.resize(held_.size() - syntax_.name_close.size());
    } else {
      if (last != '\n' && last != '<') return State::kMore;
      held_.pop_back();
    }
    const size_t from = held_.find_first_not_of(kBlank);
    if (from == held_.npos) return last == '\n' ? State::kMore : State::kNoCall;
    name_ = held_.substr(from, held_.find_last_not_of(kBlank) + 1 - from);
    if (name_.find_first_of("{}\"<> ") != name_.npos) return State::kNoCall;
    add_part(out, PartKind::kCall, name_);
    move_to(At::kBetween);
    if (last == '<' && syntax_.name_close.empty()) held_ = '<';
    return State::kMore;
  }

  State between(std::vector<ToolPart>& out) {
    held_.erase(0, std::min(held_.find_first_not_of(kBlank), held_.size()));
    if (held_ == syntax_.key_open) return move_to(At::kKey);
    if (held_ == syntax_.close) {
      add_part(out, PartKind::kArguments, n_arguments_ ? "}" : "{}");
      return State::kDone;
    }
    return syntax_.key_open.starts_with(held_) || syntax_.close.starts_with(held_) ? State::kMore : State::kNoCall;
  }

  State begin_value(std::vector<ToolPart>& out) {
    schema_ = schema_of(tools_, name_, key_);
    is_text_ = is_text_only(schema_);
    add_part(out, PartKind::kArguments, (n_arguments_++ ? ", \"" : "{\"") + escaped(key_) + "\": ");
    if (is_text_) add_part(out, PartKind::kArguments, "\"");
    value_.clear();
    begun_ = false;
    return move_to(At::kValue);
  }

  // One line end on either side of a value is no part of it.
  State in_value(char c, std::vector<ToolPart>& out) {
    if (!begun_ && c == '\n' && held_.empty()) {
      begun_ = true;
      return State::kMore;
    }
    begun_ = true;
    held_ += c;
    for (;;) {
      std::string_view rest = held_;
      if (rest.starts_with('\n')) rest.remove_prefix(1);
      if (rest == syntax_.value_close) break;
      if (syntax_.value_close.starts_with(rest)) return State::kMore;
      if (is_text_) {
        add_part(out, PartKind::kArguments, escaped(held_.substr(0, 1)));
      } else {
        value_ += held_[0];
      }
      held_.erase(0, 1);
    }
    if (is_text_) {
      add_part(out, PartKind::kArguments, "\"");
    } else {
      const size_t from = std::min(value_.find_first_not_of(kBlank), value_.size());
      std::string json = literal(std::string_view(value_).substr(from));
      // A word that may be a text and looks like another kind is taken for that: "5" is what people write for numbers.
      if (json.empty() || (json[0] == '"' && may_be_text(schema_))) json = '"' + escaped(value_) + '"';
      add_part(out, PartKind::kArguments, json);
    }
    return move_to(At::kBetween);
  }

  const ToolSyntax& syntax_;
  const std::vector<Tool>& tools_;
  At at_;
  std::string held_, name_, key_, value_;
  const OrderedJson* schema_ = nullptr;
  size_t n_arguments_ = 0;
  bool is_text_ = false, begun_ = false;
};

// name{key:value,...}: texts stand between quote marks, keys and other values as they are.
class BracedCallReader : public CallReader {
 public:
  explicit BracedCallReader(const ToolSyntax& syntax) : quote_(syntax.quote) {}

  State step(char c, std::vector<ToolPart>& out) override {
    if (!depth_) {
      if (c != '{') {
        word_ += c;
        return word_.size() > 1000 || c == '\n' ? State::kNoCall : State::kMore;
      }
      if (word_.empty()) return State::kNoCall;
      add_part(out, PartKind::kCall, word_);
      add_part(out, PartKind::kArguments, "{");
      word_.clear();
      depth_ = 1;
      return State::kMore;
    }
    held_ += c;
    for (;;) {
      if (held_ == quote_) {
        if (!in_text_ && !word_.empty()) return State::kNoCall;
        add_part(out, PartKind::kArguments, "\"");
        in_text_ = !in_text_;
        held_.clear();
      }
      if (held_.empty() || quote_.starts_with(held_)) return State::kMore;
      const char first = held_[0];
      held_.erase(0, 1);
      if (in_text_) {
        add_part(out, PartKind::kArguments, escaped({&first, 1}));
        continue;
      }
      if (const State state = structure(first, out); state != State::kMore) return state;
    }
  }

 private:
  State structure(char c, std::vector<ToolPart>& out) {
    constexpr std::string_view kMarks = "{}[],:";
    if (kMarks.find(c) == kMarks.npos) {
      if (is_blank(c) && word_.empty()) return State::kMore;
      word_ += c;
      return State::kMore;
    }
    if ((c == '{' || c == '[') && !word_.empty()) return State::kNoCall;
    if (!word_.empty()) {
      word_.resize(word_.find_last_not_of(kBlank) + 1);
      std::string json = c == ':' ? std::string() : literal(word_);
      if (json.empty()) json = '"' + escaped(word_) + '"';
      add_part(out, PartKind::kArguments, json);
      word_.clear();
    }
    add_part(out, PartKind::kArguments, {&c, 1});
    if (c == '{' || c == '[') ++depth_;
    if ((c == '}' || c == ']') && --depth_ == 0) return State::kDone;
    return State::kMore;
  }

  const std::string_view quote_;
  std::string held_, word_;
  size_t depth_ = 0;
  bool in_text_ = false;
};

}  // namespace

std::unique_ptr<CallReader> tagged_call_reader(const ToolSyntax& syntax, std::string_view mark,
                                               const std::vector<Tool>& tools) {
  return std::make_unique<TaggedCallReader>(syntax, mark, tools);
}

std::unique_ptr<CallReader> braced_call_reader(const ToolSyntax& syntax) {
  return std::make_unique<BracedCallReader>(syntax);
}

}  // namespace hunch
