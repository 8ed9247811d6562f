// Which pages of the web a browser may bring requests from. A page of anywhere can have its name resolve to 127.0.0.1
// (DNS rebinding) or post to it blindly; the browser then says by Host and Origin where the request comes from.
#pragma once
#include <string>
#include <vector>

#include "serve/http.h"

namespace hunch::serve {

struct Access {
  // What Host may name, in lower case and without a port; empty: anything.
  std::vector<std::string> hosts = {};
  // The origin whose pages may ask and read the answers ("http://example.com", "*"); empty: none but the server's own.
  std::string cors = {};

  // Those of a server that listens at `host`: at loopback localhost, 127.0.0.1, [::1], itself and `more`; elsewhere
  // `more`, where there is any, and itself.
  static std::vector<std::string> hosts_of(const std::string& host, const std::vector<std::string>& more);

  // What is wrong with where it comes from; "": nothing.
  std::string refusal(const HttpRequest& request) const;
  // Lines that every answer to it carries, each with its line end.
  std::string headers(const HttpRequest& request) const;
  bool allows_origin(const std::string& origin) const { return !origin.empty() && (cors == "*" || cors == origin); }
};

}  // namespace hunch::serve
