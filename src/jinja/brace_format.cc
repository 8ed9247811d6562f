#include "jinja/brace_format.h"

#include <fmt/format.h>

#include <charconv>

#include "jinja/number_format.h"
#include "jinja/operators.h"

namespace hunch::jinja {
namespace {

using View = std::string_view;

class BraceFormatter {
 public:
  BraceFormatter(Heap& heap, const CallArgs& args) : heap_(heap), args_(args) {}

  std::string run(View text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const char c = text[at];
      if (c != '{' && c != '}') {
        out += c;
        at++;
      } else if (at + 1 < text.size() && text[at + 1] == c) {
        out += c;
        at += 2;
      } else if (c == '}') {
        throw Fault("format(): a single '}' in the text");
      } else {
        const size_t end = text.find('}', at);
        if (end == View::npos) throw Fault("format(): a '{' without '}' in the text");
        out += field(text.substr(at + 1, end - at - 1));
        check_text_size(out.size());
        at = end + 1;
      }
    }
    return out;
  }

 private:
  std::string field(View text) {
    if (text.find('{') != View::npos) throw Fault("format(): fields inside fields are not supported");
    const size_t colon = text.find(':');
    const View spec = colon == View::npos ? View() : text.substr(colon + 1);
    View path = text.substr(0, colon);
    char conversion = '\0';
    if (path.size() >= 2 && path[path.size() - 2] == '!') {
      conversion = path.back();
      path.remove_suffix(2);
      if (conversion != 'r' && conversion != 's')
        throw Fault(fmt::format("format(): unknown conversion '!{}'", conversion));
    }
    Value value = follow(path);
    if (conversion) value = heap_.string(conversion == 'r' ? to_repr(value) : to_text(value));
    return format_value(value, parse_format_spec(spec));
  }

  // name.key[index]...
  Value follow(View path) {
    const size_t first_end = std::min(path.find_first_of(".["), path.size());
    Value value = argument(path.substr(0, first_end));
    path.remove_prefix(first_end);
    while (!path.empty()) {
      if (path[0] == '.') {
        const size_t end = std::min(path.find_first_of(".[", 1), path.size());
        value = get_attribute(heap_, value, path.substr(1, end - 1));
        path.remove_prefix(end);
      } else {
        const size_t end = path.find(']');
        if (path[0] != '[' || end == View::npos) throw Fault("format(): a field is not understood");
        const View key = path.substr(1, end - 1);
        const auto number = as_number(key);
        value = get_item(heap_, value, number ? Value(Int(*number)) : heap_.string(std::string(key)));
        path.remove_prefix(end + 1);
      }
    }
    return value;
  }

  static std::optional<int64_t> as_number(View text) {
    int64_t n = 0;
    const auto r = std::from_chars(text.data(), text.data() + text.size(), n);
    if (text.empty() || r.ec != std::errc() || r.ptr != text.data() + text.size() || n < 0) return std::nullopt;
    return n;
  }

  Value argument(View name) {
    if (const auto number = as_number(name); number || name.empty()) {
      const size_t i = number ? size_t(*number) : n_automatic_++;
      if (i >= args_.positional.size()) throw Fault(fmt::format("format(): there is no argument {}", i));
      return args_.positional[i];
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    throw Fault(fmt::format("format(): there is no argument '{}'", name));
  }

  Heap& heap_;
  const CallArgs& args_;
  size_t n_automatic_ = 0;
};

}  // namespace

std::string brace_format(Heap& heap, std::string_view text, const CallArgs& args) {
  return BraceFormatter(heap, args).run(text);
}

}  // namespace hunch::jinja
