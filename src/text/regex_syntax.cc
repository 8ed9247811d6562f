// From Oniguruma's syntax to PCRE2's.
#include <cctype>

#include "base/error.h"
#include "io/printable.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace hunch {
namespace {

// PCRE2's own \s (UCP) adds U+180E, and its \w leaves out marks; these are the sets that Oniguruma means.
constexpr char kSpace[] = "\\p{Z}\\x{9}-\\x{d}\\x{85}";
constexpr char kWord[] = "\\p{L}\\p{M}\\p{N}\\p{Pc}";
constexpr char kHex[] = "0-9A-Fa-f";
constexpr std::pair<std::string_view, std::string_view> kLongNames[] = {
    {"Letter", "L"}, {"Mark", "M"}, {"Number", "N"}, {"Punctuation", "P"}, {"Symbol", "S"}, {"Separator", "Z"}};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (i_ < in_.size()) {
      if (in_[i_] == '\\') {
        escape(false);
      } else if (in_[i_] == '[') {
        set();
      } else {
        literal();
      }
    }
    return std::move(out_);
  }

 private:
  std::string_view in_;
  size_t i_ = 0;
  std::string out_;

  [[noreturn]] void refuse(const char* what) const {
    fail(ErrorKind::kUnsupported, "pre-tokeniser pattern '{}': {} at byte {} is not supported", printable(in_, 200),
         what, i_);
  }

  // One character as it is; outside ASCII as \x{...}, so that one pattern has one form.
  void literal() {
    const Utf8Step step = utf8_step(in_, i_);
    if (step.status != Utf8Step::Status::kValid) refuse("invalid UTF-8");
    if (step.code_point < 0x80) {
      out_ += in_[i_];
    } else {
      out_ += fmt::format("\\x{{{:x}}}", step.code_point);
    }
    i_ += step.n_bytes;
  }

  void property_set(bool in_set, const char* members, bool negated) {
    if (in_set) {
      if (negated) refuse("a negated class inside a set");
      out_ += members;
    } else {
      out_ += negated ? "[^" : "[";
      out_ += members;
      out_ += ']';
    }
    i_ += 2;
  }

  // in_[i_] is a backslash.
  void escape(bool in_set) {
    if (i_ + 1 >= in_.size()) refuse("a backslash with nothing after it");
    const char c = in_[i_ + 1];
    switch (c) {
      case 's': return property_set(in_set, kSpace, false);
      case 'w': return property_set(in_set, kWord, false);
      case 'h': return property_set(in_set, kHex, false);
      case 'S':
        // [^\S...] has no flat form; [\S...] is the set of everything that is not white space, and PCRE2's
        // own \S differs from it in U+180E only.
        if (in_set) {
          out_ += "\\S";
          i_ += 2;
          return;
        }
        return property_set(in_set, kSpace, true);
      case 'W': return property_set(in_set, kWord, true);
      case 'H': return property_set(in_set, kHex, true);
      case 'u': {
        const std::string_view digits = in_.substr(i_ + 2, 4);
        if (digits.size() < 4) refuse("\\u without four hexadecimal digits");
        for (char d : digits) {
          if (!std::isxdigit(static_cast<unsigned char>(d))) refuse("\\u without four hexadecimal digits");
        }
        out_ += fmt::format("\\x{{{:x}}}", std::stoul(std::string(digits), nullptr, 16));
        i_ += 6;
        return;
      }
      case 'p':
      case 'P':
        if (in_.substr(i_ + 2, 1) == "{") {
          const size_t end = in_.find('}', i_);
          if (end == std::string_view::npos) refuse("\\p{ without its end");
          std::string_view name = in_.substr(i_ + 3, end - i_ - 3);
          for (const auto& [longer, shorter] : kLongNames) {
            if (name == longer) name = shorter;
          }
          // A bare script name means the script itself, not PCRE2's script extensions.
          const bool script = name.size() > 2 && name.find_first_of("^&=:") == std::string_view::npos && name != "Any";
          out_ += std::string("\\") + c + "{" + (script ? "sc:" : "") + std::string(name) + "}";
          i_ = end + 1;
          return;
        }
        [[fallthrough]];
      default: out_ += in_[i_++]; literal();
    }
  }

  // in_[i_] opens a set.
  void set() {
    out_ += in_[i_++];
    if (i_ < in_.size() && in_[i_] == '^') out_ += in_[i_++];
    if (i_ < in_.size() && in_[i_] == ']') out_ += "\\]", ++i_;
    members();
    out_ += ']';
  }

  // The members up to the closing bracket, which is consumed but not written.
  void members() {
    while (true) {
      if (i_ >= in_.size()) refuse("a set without its end");
      const char c = in_[i_];
      if (c == ']') {
        ++i_;
        return;
      }
      if (c == '\\') {
        escape(true);
      } else if (c == '[' && in_.substr(i_, 2) == "[:") {
        const size_t end = in_.find(":]", i_);
        if (end == std::string_view::npos) refuse("[: without its end");
        out_ += in_.substr(i_, end + 2 - i_);
        i_ = end + 2;
      } else if (c == '[') {
        if (in_.substr(i_, 2) == "[^") refuse("a negated set inside a set");
        if (++depth_ > 8) refuse("a set nested more than 8 deep");
        ++i_;
        members();
        --depth_;
      } else if (in_.substr(i_, 2) == "&&") {
        refuse("an intersection of sets (&&)");
      } else {
        literal();
      }
    }
  }
  int depth_ = 0;
};

}  // namespace

std::string to_pcre2_syntax(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace hunch
