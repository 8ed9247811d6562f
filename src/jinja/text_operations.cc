#include "jinja/text_operations.h"

#include <fmt/format.h>

#include <algorithm>

#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

using View = std::string_view;

// The first (or last) run of white space in `text`: its begin and end; npos where there is none.
std::pair<size_t, size_t> find_space_run(View text, bool last) {
  size_t begin = View::npos, end = View::npos;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    if (is_space(c.value)) {
      if (end != at) begin = at;
      end = at + c.n_bytes;
    } else if (!last && begin != View::npos) {
      break;
    }
    at += c.n_bytes;
  }
  return {begin, end};
}

std::vector<View> split_at_space(View text, Int max_splits, bool from_right) {
  std::vector<View> parts;
  if (!from_right) {
    text = strip(text, true, false);
    while (!text.empty()) {
      const auto [begin, end] = find_space_run(text, false);
      if (begin == View::npos || max_splits == 0) {
        parts.push_back(text);
        break;
      }
      max_splits--;
      parts.push_back(text.substr(0, begin));
      text = text.substr(end);
    }
    return parts;
  }
  // From the right: the words from the left, then the surplus ones joined again by where they stand.
  parts = split_at_space(text, -1, false);
  if (max_splits < 0 || Int(parts.size()) <= max_splits) return parts;
  if (parts.empty()) return parts;
  const size_t n_head = parts.size() - size_t(max_splits);
  const char* head_end = parts[n_head - 1].data() + parts[n_head - 1].size();
  std::vector<View> out{text.substr(0, size_t(head_end - text.data()))};
  out.insert(out.end(), parts.begin() + ptrdiff_t(n_head), parts.end());
  return out;
}

bool all_cased(View text, bool upper) {
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    if (upper ? is_lower(c.value) : is_upper(c.value)) return false;
    any = any || (upper ? is_upper(c.value) : is_lower(c.value));
    at += c.n_bytes;
  }
  return any;
}

}  // namespace

std::vector<View> split_text(View text, const std::string* separator, Int max_splits, bool from_right) {
  if (!separator) return split_at_space(text, max_splits, from_right);
  if (separator->empty()) throw Fault("split() needs a separator that is not empty");
  std::vector<View> parts;
  while (max_splits != 0) {
    const size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == View::npos) break;
    max_splits--;
    const View before = text.substr(0, at), after = text.substr(at + separator->size());
    parts.push_back(from_right ? after : before);
    text = from_right ? before : after;
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::string replace_text(View text, View from, View to, Int max_count) {
  std::string out;
  if (from.empty()) {
    for (View c : characters(text)) {
      if (max_count != 0) out += to, max_count--;
      out += c;
      check_text_size(out.size());
    }
    if (max_count != 0) out += to;
    return out;
  }
  size_t at = 0;
  while (max_count != 0) {
    const size_t found = text.find(from, at);
    if (found == View::npos) break;
    out += text.substr(at, found - at);
    out += to;
    check_text_size(out.size());
    at = found + from.size();
    max_count--;
  }
  return out += text.substr(at);
}

std::string justify_text(View text, Int width, View fill, int align) {
  if (n_code_points(fill) != 1) throw Fault("the fill character must be one character");
  const Int n = Int(n_code_points(text));
  if (width <= n) return std::string(text);
  check_text_size(width > Int(kMaxTextBytes) ? kMaxTextBytes + 1 : size_t(width) * fill.size());
  const size_t missing = size_t(width - n);
  // Python puts the odd one to the left when the width is odd.
  const size_t left = align < 0 ? 0 : align > 0 ? missing : missing / 2 + (missing & size_t(width) & 1);
  std::string out;
  for (size_t i = 0; i < left; i++) out += fill;
  out += text;
  for (size_t i = left; i < missing; i++) out += fill;
  return out;
}

bool all_cased_upper(View text) { return all_cased(text, true); }
bool all_cased_lower(View text) { return all_cased(text, false); }

std::string indent_text(View text, View indention, bool first, bool blank) {
  // A line end is added so that one at the end of the text is kept.
  const std::string padded = std::string(text) + "\n";
  std::string out;
  bool is_first = true;
  for (View line : split_lines(padded)) {
    if (!is_first) out += '\n';
    if (is_first ? first : blank || !line.empty()) out += indention;
    out += line;
    is_first = false;
    check_text_size(out.size());
  }
  return out;
}

std::string escape_html(View text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string strip_tags(View text) {
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    const bool comment = text.substr(at, 4) == "<!--";
    const size_t end = text[at] == '<' ? text.find(comment ? "-->" : ">", at) : View::npos;
    if (end == View::npos) {
      plain += text[at++];
    } else {
      at = end + (comment ? 3 : 1);
    }
  }
  std::string out;
  for (View word : split_at_space(plain, -1, false)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

std::string percent_encode(View text, View safe) {
  std::string out;
  for (char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       View("_.-~").find(c) != View::npos || safe.find(c) != View::npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace hunch::jinja
