#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "text/space_mark.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace hunch {
namespace {

using Kind = NormalizerStep::Kind;

// Normal forms, and lower case without folding (utf8proc has the forms; lower case goes by character).
std::string unicode_form(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t n =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (n < 0) fail(ErrorKind::kMemory, "Unicode normalisation of {} bytes: {}", text.size(), utf8proc_errmsg(n));
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<size_t>(n));
}

std::string lower_case(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(step.code_point))));
    i += step.n_bytes;
  }
  return out;
}

// Python's BertTokenizer and the tokenizers library's BertNormalizer.
std::string clean(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const uint32_t cp = step.code_point;
    if (cp != 0xfffd && !is_control_char(cp)) {
      if (is_white_space(cp)) {
        out += ' ';
      } else {
        out += text.substr(i, step.n_bytes);
      }
    }
    i += step.n_bytes;
  }
  return out;
}

std::string space_chinese(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const bool chinese = is_chinese(step.code_point);
    if (chinese) out += ' ';
    out += text.substr(i, step.n_bytes);
    if (chinese) out += ' ';
    i += step.n_bytes;
  }
  return out;
}

std::string strip_accents(std::string_view text) {
  const std::string apart = unicode_form(text, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  std::string out;
  for (size_t i = 0; i < apart.size();) {
    const Utf8Step step = utf8_step(apart, i);
    if (!is_nonspacing_mark(step.code_point)) out.append(apart, i, step.n_bytes);
    i += step.n_bytes;
  }
  return out;
}

std::string_view strip_left(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text, 0);
    if (!is_white_space(step.code_point)) break;
    text.remove_prefix(step.n_bytes);
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  size_t end = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    i += step.n_bytes;
    if (!is_white_space(step.code_point)) end = i;
  }
  return text.substr(0, end);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out += text.substr(done, at - done);
    out += to;
    done = at + from.size();
  }
  out += text.substr(done);
  return out;
}

// No space at either end, and one between words.
std::string squeeze_spaces(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  // At the end, SentencePiece takes a typed U+2581 for a space as well.
  while (out.ends_with(' ') || out.ends_with(kSpaceMark))
    out.resize(out.size() - (out.back() == ' ' ? 1 : kSpaceMark.size()));
  return out;
}

}  // namespace

Normalizer::Normalizer(const TokenizerSpec& spec) : nfc_(spec.nfc), squeeze_(spec.remove_extra_whitespaces) {
  for (const NormalizerStep& step : spec.normalizers) {
    steps_.push_back({step, std::nullopt});
    if (step.kind == Kind::kReplaceRegex) steps_.back().regex.emplace(step.from);
  }
  if (!spec.charsmap.empty()) charsmap_.emplace_back(spec.charsmap);
}

std::string Normalizer::normalize(std::string_view text) const {
  std::string out = nfc_ ? unicode_form(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE) : std::string(text);
  for (const Charsmap& map : charsmap_) out = map.normalize(out);
  for (const auto& [step, regex] : steps_) {
    switch (step.kind) {
      case Kind::kNfc: out = unicode_form(out, UTF8PROC_STABLE | UTF8PROC_COMPOSE); break;
      case Kind::kNfd: out = unicode_form(out, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE); break;
      case Kind::kNfkc: out = unicode_form(out, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT); break;
      case Kind::kNfkd: out = unicode_form(out, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT); break;
      case Kind::kLowercase: out = lower_case(out); break;
      case Kind::kStripLeft: out = std::string(strip_left(out)); break;
      case Kind::kStripRight: out = std::string(strip_right(out)); break;
      case Kind::kReplace: out = replace_all(out, step.from, step.to); break;
      case Kind::kCleanText: out = clean(out); break;
      case Kind::kSpaceChinese: out = space_chinese(out); break;
      case Kind::kStripAccents: out = strip_accents(out); break;
      case Kind::kReplaceRegex: out = regex->replace(out, step.to); break;
    }
  }
  if (squeeze_) out = squeeze_spaces(out);
  return out;
}

}  // namespace hunch
