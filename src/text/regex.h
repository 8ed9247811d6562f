// Regular expressions of tokenizers: PCRE2 (JIT, Unicode properties) behind the syntax that
// tokenizer.json files are written in (Oniguruma's Ruby syntax, as far as such files use it).
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

// The pattern in PCRE2's syntax with the same meaning: \s, \w and \h as Unicode properties that agree
// with Oniguruma, sets nested in a set flattened, \uHHHH as \x{HHHH}. Throws Error{kUnsupported} for
// what PCRE2 would silently read as something else: intersections (&&) and negated sets in a set.
std::string to_pcre2_syntax(std::string_view pattern);

// One compiled expression. Immutable, safe to share between threads.
class Regex {
 public:
  // `pattern` in Oniguruma's syntax. Throws Error{kUnsupported} with the place where it stops being understood.
  explicit Regex(const std::string& pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Cuts `text` (valid UTF-8) at both ends of every match and appends the non-empty parts, in order;
  // nothing is lost. An empty match cuts where it is. Throws Error{kLimit} when a match needs more
  // backtracking than PCRE2's limits allow.
  void split(std::string_view text, std::vector<std::string_view>& parts) const;

  // Every match replaced by `to`, literally.
  std::string replace(std::string_view text, std::string_view to) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace hunch
