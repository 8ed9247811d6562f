#include "grammar/json_text.h"

#include "grammar/regex.h"

namespace hunch::grammar {
namespace {

const CharSet kEscaped = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
const CharSet kHex = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};

Expr escape_of(uint32_t c) {
  constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  if (const size_t at = kShort.find(char(c)); at != kShort.npos) return literal({'\\', kLetters[at]});
  constexpr std::string_view kDigits = "0123456789abcdef";
  return sequence({literal(std::string("\\u00") + kDigits[c >> 4]),
                   c % 16 < 10
                       ? literal({kDigits[c % 16]})
                       : chars({{c % 16 - 10 + 'a', c % 16 - 10 + 'a'}, {c % 16 - 10 + 'A', c % 16 - 10 + 'A'}})});
}

}  // namespace

Expr json_chars(const CharSet& set) {
  std::vector<Expr> out = {chars(set.without(kEscaped))};
  for (uint32_t c = 0; c <= '\\'; c = c == 0x1F ? '"' : c == '"' ? '\\' : c + 1)
    if (set.contains(c)) out.push_back(escape_of(c));
  return choice(std::move(out));
}

Expr json_char() {
  const Expr hex = chars(kHex);
  const Expr d = chars({{'D', 'D'}, {'d', 'd'}});
  return choice({
      chars(kEscaped.complement()),
      sequence(
          {literal("\\"),
           chars({{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}})}),
      sequence(
          {literal("\\u"),
           choice({sequence({chars(kHex.without({{'D', 'D'}, {'d', 'd'}})), hex}), sequence({d, chars({{'0', '7'}})})}),
           hex, hex}),
      sequence({literal("\\u"), d, chars({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), hex, hex, literal("\\u"), d,
                chars({{'C', 'F'}, {'c', 'f'}}), hex, hex}),
  });
}

Expr json_space() {
  return choice(
      {literal(""), literal(" "), sequence({literal("\n"), repeat(chars({{' ', ' '}, {'\t', '\t'}}), 0, 64)})});
}

Expr json_constant(const nlohmann::ordered_json& value) {
  const auto dumped = [](const nlohmann::ordered_json& v) { return literal(v.dump()); };
  if (!value.is_structured() || value.empty()) return dumped(value);
  const Expr space = json_space();
  std::vector<Expr> out = {literal(value.is_object() ? "{" : "["), space};
  bool first = true;
  for (const auto& [key, item] : value.items()) {
    if (!std::exchange(first, false)) out.insert(out.end(), {literal(","), space});
    if (value.is_object()) out.insert(out.end(), {dumped(key), literal(":"), space});
    out.push_back(json_constant(item));
  }
  out.insert(out.end(), {space, literal(value.is_object() ? "}" : "]")});
  return sequence(std::move(out));
}

Expr JsonRules::of(uint32_t& rule, const char* name, Expr (JsonRules::*body)()) {
  if (rule == kNone) {
    rule = rules_.add(name);
    Expr made = (this->*body)();
    rules_.rules[rule].body = std::move(made);
  }
  return rule_ref(rule);
}

Expr JsonRules::any_body() {
  return choice({object(), array(), text(), json_number({}), literal("true"), literal("false"), literal("null")});
}
Expr JsonRules::object_body() {
  const Expr pair = sequence({text(), literal(":"), space(), any()});
  const Expr more = repeat(sequence({literal(","), space(), pair}), 0);
  return sequence({literal("{"), space(), optional(sequence({pair, more, space()})), literal("}")});
}
Expr JsonRules::array_body() {
  const Expr more = repeat(sequence({literal(","), space(), any()}), 0);
  return sequence({literal("["), space(), optional(sequence({any(), more, space()})), literal("]")});
}
Expr JsonRules::text_body() { return sequence({literal("\""), repeat(json_char(), 0), literal("\"")}); }
Expr JsonRules::space_body() { return json_space(); }

Expr json_format(const std::string& format) {
  const std::string date =
      "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
      ")|"
      "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)";
  const std::string time =
      "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
  // Of at most 63 characters, and without two hyphens in a row, by which encoded names begin.
  const std::string label = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}",
                    byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  const std::string ipv4 = "(" + byte + "\\.){3}" + byte;
  const auto regex = [](const std::string& pattern) { return parse_regex(pattern); };
  if (format == "date") return regex(date);
  if (format == "time") return regex(time);
  if (format == "date-time") return regex("(" + date + ")T" + time);
  if (format == "uuid") return regex("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}");
  if (format == "ipv4") return regex(ipv4);
  if (format == "hostname") return regex(label + "(\\." + label + "){0,3}");
  if (format == "email") {
    const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}";
    return regex(atom + "(\\." + atom + ")?@" + label + "(\\." + label + ")+");
  }
  if (format == "duration")
    return regex(
        "P([0-9]{1,9}W|([0-9]{1,9}Y([0-9]{1,9}M([0-9]{1,9}D)?)?|[0-9]{1,9}M([0-9]{1,9}D)?|[0-9]{1,9}D)?"
        "(T([0-9]{1,9}H([0-9]{1,9}M([0-9]{1,9}S)?)?|[0-9]{1,9}M([0-9]{1,9}S)?|[0-9]{1,9}S))|"
        "([0-9]{1,9}Y([0-9]{1,9}M([0-9]{1,9}D)?)?|[0-9]{1,9}M([0-9]{1,9}D)?|[0-9]{1,9}D))");
  if (format == "ipv6") {
    const std::string g = "[0-9a-fA-F]{1,4}";
    std::string out = "(" + g + ":){7}" + g + "|::(" + g + "(:" + g + "){0,6})?";
    for (int n = 1; n <= 7; ++n)  // n groups before the gap
      out += "|" + g + "(:" + g + "){" + std::to_string(n - 1) +
             "}::" + (n == 7 ? "" : "(" + g + "(:" + g + "){0," + std::to_string(6 - n) + "})?");
    return regex(out);
  }
  return nullptr;
}

}  // namespace hunch::grammar
