// Which of a table of routes a request means.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http.h"

namespace hunch::serve {

struct RoutePattern {
  const char *method, *path;  // a path that ends with * is any that begins so and goes on
  bool open = false;          // to everybody, without a key
};

bool is_path_of(const RoutePattern& route, std::string_view path);
// HEAD is a GET whose body is left out.
bool is_method_of(const RoutePattern& route, std::string_view method);

// nullptr: none; the methods that this path has in the table are added to `allowed`.
template <class Route>
const Route* route_of(const std::vector<Route>& routes, const HttpRequest& request, std::string& allowed) {
  for (const Route& route : routes) {
    if (!is_path_of(route, request.path)) continue;
    if (is_method_of(route, request.method)) return &route;
    if (!allowed.empty()) allowed += ", ";
    allowed += route.method;
  }
  return nullptr;
}

// What stands for the * of a route, decoded; "" where it has none.
std::string rest_of(const RoutePattern& route, std::string_view path);
// "%41+b" as a query means it where `is_query`, else as a path does.
std::string percent_decoded(std::string_view text, bool is_query);
// The value of this name in "a=1&b=2", decoded.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

}  // namespace hunch::serve
