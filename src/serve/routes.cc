#include "serve/routes.h"

#include <charconv>

namespace hunch::serve {

bool is_path_of(const RoutePattern& route, std::string_view asked) {
  const std::string_view path = route.path;
  if (!path.ends_with('*')) return asked == path;
  return asked.size() >= path.size() && asked.starts_with(path.substr(0, path.size() - 1));
}

bool is_method_of(const RoutePattern& route, std::string_view method) {
  return method == route.method || (method == "HEAD" && std::string_view(route.method) == "GET");
}

std::string rest_of(const RoutePattern& route, std::string_view path) {
  const std::string_view own = route.path;
  return own.ends_with('*') ? percent_decoded(path.substr(own.size() - 1), false) : "";
}

std::string percent_decoded(std::string_view text, bool is_query) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t byte = 0;
    const bool is_code = text[i] == '%' && i + 2 < text.size() &&
                         std::from_chars(&text[i + 1], &text[i + 1] + 2, byte, 16).ptr == &text[i + 1] + 2;
    out += is_code ? char(byte) : is_query && text[i] == '+' ? ' ' : text[i];
    if (is_code) i += 2;
  }
  return out;
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    const size_t equals = std::min(part.find('='), part.size());
    if (percent_decoded(part.substr(0, equals), true) == name)
      return percent_decoded(part.substr(std::min(equals + 1, part.size())), true);
  }
  return std::nullopt;
}

}  // namespace hunch::serve
