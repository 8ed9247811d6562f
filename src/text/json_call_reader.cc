#include <algorithm>

#include "text/json_extent.h"
#include "text/tool_call_reader.h"

namespace hunch {
namespace {

using OrderedJson = nlohmann::ordered_json;
using PartKind = ToolPart::Kind;

bool is_json_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// Of numbers, true, false and null.
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

class JsonCallReader : public CallReader {
 public:
  JsonCallReader(const std::vector<Tool>& tools, bool known_only) : tools_(tools), known_only_(known_only) {}

  State step(char c, std::vector<ToolPart>& out) override {
    switch (at_) {
      case At::kStart: at_ = At::kKey; return c == '{' ? State::kMore : State::kNoCall;
      case At::kKey:
        if (is_json_space(c) || (c == ',' && n_fields_)) return State::kMore;
        if (c == '}') return end(out);
        if (c != '"') return State::kNoCall;
        return begin(At::kInKey, c);
      case At::kInKey:
        held_ += c;
        if (held_.size() > 1000) return State::kNoCall;
        if (!extent_.step(c)) return State::kMore;
        key_ = text_of(held_);
        // An answer in JSON that is no call is shown while it comes.
        if (known_only_ && !is_name() && !is_arguments() && key_ != "type" && key_ != "id") return State::kNoCall;
        at_ = At::kColon;
        return State::kMore;
      case At::kColon:
        if (c == ':') at_ = At::kValue;
        return c == ':' || is_json_space(c) ? State::kMore : State::kNoCall;
      case At::kValue:
        if (is_json_space(c)) return State::kMore;
        ++n_fields_;
        if (c == '"' || c == '{' || c == '[') {
          streams_ = is_arguments() && c == '{' && !name_.empty() && !has_arguments_;
          if (streams_ && !call(out)) return State::kNoCall;
          if (streams_) add_part(out, PartKind::kArguments, {&c, 1});
          return begin(At::kInValue, c);
        }
        at_ = At::kInWord;
        return is_word(c) ? State::kMore : State::kNoCall;
      case At::kInWord:
        if (c != '}' && c != ',') return is_word(c) || is_json_space(c) ? State::kMore : State::kNoCall;
        at_ = At::kKey;
        return c == '}' ? end(out) : State::kMore;
      case At::kInValue: return in_value(c, out);
    }
    return State::kNoCall;
  }

 private:
  enum class At : uint8_t { kStart, kKey, kInKey, kColon, kValue, kInValue, kInWord };

  State begin(At at, char c) {
    at_ = at;
    held_ = c;
    extent_ = {};
    extent_.step(c);
    return State::kMore;
  }
  static std::string text_of(const std::string& quoted) {
    const OrderedJson json = OrderedJson::parse(quoted, nullptr, false);
    return json.is_string() ? json.get<std::string>() : std::string();
  }
  bool is_name() const { return key_ == "name" || key_ == "tool_name" || key_ == "function"; }
  bool is_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  State in_value(char c, std::vector<ToolPart>& out) {
    const bool ends = extent_.step(c);
    if (streams_) {
      add_part(out, PartKind::kArguments, {&c, 1});
      has_arguments_ = true;
    } else {
      held_ += c;
    }
    if (!ends) return State::kMore;
    at_ = At::kKey;
    if (streams_) return State::kMore;
    const bool is_text = held_[0] == '"';
    if (name_.empty() && is_text && is_name()) {
      name_ = text_of(held_);
      if (known_only_ && std::ranges::none_of(tools_, [&](const Tool& tool) { return tool.name == name_; }))
        return State::kNoCall;
    } else if (is_arguments() && !has_arguments_) {  // before the name, or as a text
      arguments_ = is_text ? text_of(held_) : held_;
    }
    return State::kMore;
  }

  // Says that a call begins, unless that was said. False where there is no name.
  bool call(std::vector<ToolPart>& out) {
    if (!called_ && !name_.empty()) add_part(out, PartKind::kCall, name_);
    called_ = called_ || !name_.empty();
    return called_;
  }
  State end(std::vector<ToolPart>& out) {
    if (!call(out)) return State::kNoCall;
    if (!has_arguments_) add_part(out, PartKind::kArguments, arguments_.empty() ? "{}" : arguments_);
    return State::kDone;
  }

  const std::vector<Tool>& tools_;
  const bool known_only_;
  At at_ = At::kStart;
  JsonExtent extent_;
  size_t n_fields_ = 0;
  bool streams_ = false, has_arguments_ = false, called_ = false;
  std::string key_, held_, name_, arguments_;
};

// name MARKS {...}
class NamedCallReader : public CallReader {
 public:
  explicit NamedCallReader(const ToolSyntax& syntax) : syntax_(syntax) {}

  State step(char c, std::vector<ToolPart>& out) override {
    if (!called_) {
      if (c != '{') {
        head_ += c;
        return head_.size() > 1000 ? State::kNoCall : State::kMore;
      }
      const std::string name = name_in(head_);
      if (name.empty()) return State::kNoCall;
      add_part(out, PartKind::kCall, name);
      called_ = true;
    }
    add_part(out, PartKind::kArguments, {&c, 1});
    return extent_.step(c) ? State::kDone : State::kMore;
  }

 private:
  // "name[ARGS]", "name[CALL_ID]id[ARGS]", "function<sep>name\n```json\n", "name<sep>", "name
  // <|constrain|>json<|message|>", "functions.name:0<|...|>".
  std::string name_in(std::string_view head) const {
    const size_t mark = head.find(syntax_.name_close);
    if (mark == head.npos) return {};
    std::string_view name = head.substr(0, mark);
    const std::string_view rest = head.substr(mark + syntax_.name_close.size());
    if (syntax_.name == "DeepSeek" && rest.find_first_not_of(" \n") != rest.npos)
      name = rest.substr(0, rest.find('\n'));  // of V3 and R1; V3.1 has the name before the mark
    if (name.starts_with("functions.")) name.remove_prefix(10);
    name.remove_prefix(std::min(name.size(), name.find_first_not_of(" \n")));
    return std::string(name.substr(0, name.find_first_of(" \n<[:")));
  }

  const ToolSyntax& syntax_;
  std::string head_;
  bool called_ = false;
  JsonExtent extent_;
};

}  // namespace

void add_part(std::vector<ToolPart>& parts, PartKind kind, std::string_view text) {
  if (kind != PartKind::kCall && text.empty()) return;
  if (kind == PartKind::kCall || parts.empty() || parts.back().kind != kind) {
    parts.push_back({kind, std::string(text)});
  } else {
    parts.back().text += text;
  }
}

std::unique_ptr<CallReader> json_call_reader(const std::vector<Tool>& tools, bool known_only) {
  return std::make_unique<JsonCallReader>(tools, known_only);
}

std::unique_ptr<CallReader> named_call_reader(const ToolSyntax& syntax) {
  return std::make_unique<NamedCallReader>(syntax);
}

}  // namespace hunch
