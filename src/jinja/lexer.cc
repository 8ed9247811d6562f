#include "jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "jinja/string_literal.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

std::string normalize_line_ends(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); i++) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') i++;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string source, const LexOptions& options) : source_(std::move(source)), options_(options) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) lex_text_and_opening();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  bool looking_at(std::string_view text) const { return rest().substr(0, text.size()) == text; }

  // Moves to byte `to`, counting lines.
  void advance_to(size_t to) {
    line_ += int(std::count(source_.begin() + ptrdiff_t(at_), source_.begin() + ptrdiff_t(to), '\n'));
    at_ = to;
  }
  void skip_space() {
    size_t to = at_;
    while (to < source_.size()) {
      const CodePoint c = decode_at(source_, to);
      if (!is_space(c.value)) break;
      to += c.n_bytes;
    }
    advance_to(to);
  }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void add_text(std::string_view text) {
    if (!text.empty()) add(TokenKind::kText, std::string(text));
  }

  size_t find_opening() const {
    for (size_t i = at_; i + 1 < source_.size(); i++) {
      if (source_[i] == '{' && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
    }
    return std::string::npos;
  }

  // `text` as it remains before an opening delimiter with this sign ('-', '+' or another character).
  std::string_view strip_before(std::string_view text, char sign, bool strips_line) const {
    if (sign == '-') return strip(text, false, true);
    if (sign == '+' || !strips_line) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    const bool begins_line = line_start > 0 || at_ == 0 || source_[at_ - 1] == '\n';
    if (begins_line && strip(text.substr(line_start)).empty()) return text.substr(0, line_start);
    return text;
  }

  void lex_text_and_opening() {
    const size_t opening = find_opening();
    if (opening == std::string::npos) {
      add_text(rest());
      advance_to(source_.size());
      return;
    }
    const std::string_view text = std::string_view(source_).substr(at_, opening - at_);
    const char type = source_[opening + 1];
    const char sign = opening + 2 < source_.size() ? source_[opening + 2] : '\0';
    add_text(strip_before(text, sign, type != '{' || options_.strip_before_output));
    advance_to(opening);
    if (type == '#') return lex_comment();
    if (type == '%' && lex_raw()) return;
    const bool output = type == '{';
    add(output ? TokenKind::kOutputBegin : TokenKind::kTagBegin, "");
    advance_to(opening + (sign == '-' || sign == '+' ? 3 : 2));
    lex_expression(output);
  }

  void lex_comment() {
    const size_t begin = at_ + (peek(2) == '-' || peek(2) == '+' ? 3 : 2);
    const size_t end = source_.find("#}", begin);
    if (end == std::string::npos) throw SyntaxFault(line_, "the comment '{#' has no end '#}'");
    const char sign = end > begin ? source_[end - 1] : '\0';
    advance_to(end + 2);
    finish_block(sign);
  }

  // What a closing %} or #} takes with it: all white space after '-', else one line end unless '+'.
  void finish_block(char sign) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && peek() == '\n') {
      advance_to(at_ + 1);
    }
  }

  // At "{%": if it opens a raw block, adds its text and passes it.
  bool lex_raw() {
    const auto [after_raw, raw_sign] = match_tag(at_, "raw");
    if (after_raw == std::string::npos || raw_sign == '+') return false;
    const int first_line = line_;
    advance_to(after_raw);
    if (raw_sign == '-') skip_space();
    for (size_t end = source_.find("{%", at_); end != std::string::npos; end = source_.find("{%", end + 2)) {
      const auto [after_end, end_sign] = match_tag(end, "endraw");
      if (after_end == std::string::npos) continue;
      const std::string_view text = std::string_view(source_).substr(at_, end - at_);
      add_text(strip_before(text, source_[end + 2], true));
      advance_to(after_end);
      finish_block(end_sign);
      return true;
    }
    throw SyntaxFault(first_line, "the tag '{% raw %}' has no '{% endraw %}'");
  }

  // If a tag {% name %} without arguments stands at `at`: the byte after it, and the sign before its %}.
  std::pair<size_t, char> match_tag(size_t at, std::string_view name) const {
    const std::pair<size_t, char> none{std::string::npos, '\0'};
    const std::string_view source = source_;
    const auto skip = [&](size_t i) {
      while (i < source.size() && is_space(static_cast<unsigned char>(source[i]))) i++;
      return i;
    };
    size_t i = at + 2;
    if (i < source.size() && (source[i] == '-' || source[i] == '+')) i++;
    i = skip(i);
    if (source.substr(i, name.size()) != name) return none;
    i = skip(i + name.size());
    char sign = '\0';
    if (i < source.size() && (source[i] == '-' || source[i] == '+')) sign = source[i++];
    if (source.substr(i, 2) != "%}") return none;
    return {i + 2, sign};
  }

  // Tokens up to the end of the tag or output. Inside brackets, }} and %} are operators.
  void lex_expression(bool output) {
    const int first_line = line_;
    std::string open_brackets;
    while (true) {
      skip_space();
      if (at_ >= source_.size()) {
        throw SyntaxFault(first_line, output ? "'{{' has no end '}}'" : "'{%' has no end '%}'");
      }
      if (open_brackets.empty() && lex_closing(output)) return;
      if (!lex_number() && !lex_name() && !lex_string()) lex_operator(open_brackets);
    }
  }

  bool lex_closing(bool output) {
    const std::string_view closing = output ? "}}" : "%}";
    const char sign = peek() == '-' || (peek() == '+' && !output) ? peek() : '\0';
    if (rest().substr(sign ? 1 : 0, 2) != closing) return false;
    add(output ? TokenKind::kOutputEnd : TokenKind::kTagEnd, "");
    advance_to(at_ + (sign ? 3 : 2));
    if (!output) {
      finish_block(sign);
    } else if (sign == '-') {
      skip_space();
    }
    return true;
  }

  // The end of a run of digits (single underscores between them allowed) that begins at `i`.
  size_t digits_end(size_t i) const {
    while (i < source_.size() &&
           (is_ascii_digit(source_[i]) || (source_[i] == '_' && i > 0 && is_ascii_digit(source_[i - 1]) &&
                                           i + 1 < source_.size() && is_ascii_digit(source_[i + 1])))) {
      i++;
    }
    return i;
  }

  bool lex_number() {
    if (!is_ascii_digit(peek())) return false;
    const auto digit_at = [&](size_t i) { return i < source_.size() && is_ascii_digit(source_[i]); };
    size_t end = digits_end(at_);
    bool is_float = false;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // foo.0.1 is two subscripts
    if (!after_dot && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      is_float = true;
      end = digits_end(end + 1);
    }
    if (!after_dot && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const size_t sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
      if (digit_at(end + 1 + sign)) {
        is_float = true;
        end = digits_end(end + 1 + sign);
      }
    }
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text));
    advance_to(end);
    return true;
  }

  bool lex_name() {
    const auto in_name = [](int32_t c, bool first) {
      if (c < 0) return false;
      return c == '_' || is_alpha(c) || (!first && (is_digit(c) || (c >= 0x80 && is_numeric(c))));
    };
    size_t end = at_;
    while (end < source_.size()) {
      const CodePoint c = decode_at(source_, end);
      if (!in_name(c.value, end == at_)) break;
      end += c.n_bytes;
    }
    if (end == at_) return false;
    add(TokenKind::kName, source_.substr(at_, end - at_));
    advance_to(end);
    return true;
  }

  bool lex_string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size())
      throw SyntaxFault(line_, fmt::format("the string that begins with {} has no end", quote));
    try {
      add(TokenKind::kString, decode_string_literal(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    } catch (const SyntaxFault&) {
      throw;
    } catch (const Fault& fault) {
      throw SyntaxFault(line_, fault.what());
    }
    advance_to(end + 1);
    return true;
  }

  void lex_operator(std::string& open_brackets) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", "<=", ">="};
    static constexpr std::string_view kOne = "+-/*%~[](){}<>=.:|,;";
    std::string_view found;
    for (std::string_view op : kTwo) {
      if (looking_at(op)) found = op;
    }
    if (found.empty() && kOne.find(peek()) != std::string_view::npos) found = rest().substr(0, 1);
    if (found.empty()) {
      throw SyntaxFault(line_,
                        fmt::format("unexpected character '{}'", rest().substr(0, decode_at(source_, at_).n_bytes)));
    }
    const char c = found[0];
    if (c == '(' || c == '[' || c == '{') {
      open_brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_brackets.empty()) throw SyntaxFault(line_, fmt::format("unexpected '{}'", c));
      if (open_brackets.back() != c)
        throw SyntaxFault(line_, fmt::format("unexpected '{}', expected '{}'", c, open_brackets.back()));
      open_brackets.pop_back();
    }
    add(TokenKind::kOperator, std::string(found));
    advance_to(at_ + found.size());
  }

  const std::string source_;
  const LexOptions options_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const LexOptions& options) {
  return Lexer(normalize_line_ends(source), options).run();
}

}  // namespace hunch::jinja
