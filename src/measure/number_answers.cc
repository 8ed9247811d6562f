#include "measure/number_answers.h"

#include <algorithm>

#include "jinja/unicode.h"

namespace hunch {
namespace {

constexpr std::string_view kMark = "#### ", kDigits = "0123456789";

// The longest run of `set` from `at` on.
std::string_view run_of(std::string_view text, size_t at, std::string_view set) {
  if (at >= text.size()) return {};
  return text.substr(at, std::min(text.find_first_not_of(set, at), text.size()) - at);
}

// The number that begins exactly here; empty: none does.
std::string_view number_at(std::string_view text, size_t at) {
  const size_t sign = text[at] == '-';
  if (const auto money = run_of(text, at + sign, "$0123456789.,"); money.size() >= 2)
    return text.substr(at, sign + money.size());
  const auto digits = run_of(text, at + sign, kDigits);
  return digits.empty() ? digits : text.substr(at, sign + digits.size());
}

std::string bare(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) { return c == ',' || c == '$'; });
  if (const size_t mark = out.rfind(kMark); mark != out.npos) out.erase(0, mark + kMark.size());
  const size_t end = out.ends_with('\n') ? out.size() - 1 : out.size();
  if (end && out[end - 1] == '.') out.erase(end - 1, 1);
  return jinja::to_lower(out);
}

}  // namespace

std::string strict_number(std::string_view answer) {
  for (size_t at = 0; (at = answer.find(kMark, at)) != answer.npos;) {
    at += kMark.size();
    const size_t sign = at < answer.size() && answer[at] == '-';
    if (const auto number = run_of(answer, at + sign, "0123456789.,"); !number.empty())
      return std::string(answer.substr(at, sign + number.size()));
  }
  return std::string(kNoNumber);
}

std::string last_number(std::string_view answer) {
  std::string_view last = kNoNumber;
  for (size_t at = 0; at < answer.size();) {
    const std::string_view number = number_at(answer, at);
    if (!number.empty()) last = number;
    at += std::max<size_t>(number.size(), 1);
  }
  return std::string(last);
}

bool same_number(std::string_view found, std::string_view published) { return bare(found) == bare(published); }

}  // namespace hunch
