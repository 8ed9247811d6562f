#include "serve/access.h"

#include <algorithm>

namespace hunch::serve {
namespace {

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return text;
}

// "example.com:8080" without its port, "[::1]:8080" too.
std::string without_port(const std::string& authority) {
  const size_t colon = authority.rfind(':'), bracket = authority.rfind(']');
  const bool has_port = colon != authority.npos && (bracket == authority.npos || colon > bracket);
  return has_port ? authority.substr(0, colon) : authority;
}

std::string as_authority(const std::string& host) {
  return host.find(':') == host.npos || host.starts_with('[') ? host : "[" + host + "]";
}

}  // namespace

std::vector<std::string> Access::hosts_of(const std::string& host, const std::vector<std::string>& more) {
  const bool is_loopback = host == "localhost" || host == "::1" || host.starts_with("127.");
  if (!is_loopback && more.empty()) return {};
  std::vector<std::string> out = {lower_case(as_authority(host))};
  if (is_loopback) out.insert(out.end(), {"localhost", "127.0.0.1", "[::1]"});
  for (const std::string& name : more) out.push_back(lower_case(as_authority(name)));
  return out;
}

std::string Access::refusal(const HttpRequest& request) const {
  const std::string host = lower_case(request.host);
  if (!hosts.empty() && !host.empty() && std::ranges::find(hosts, without_port(host)) == hosts.end())
    return "the header Host names another machine than this one: it was refused as a page of the web could have sent "
           "it "
           "(hunch serve --allow-host NAME allows a name)";
  if (request.origin.empty() || allows_origin(request.origin)) return "";
  const size_t scheme = request.origin.find("://");
  if (scheme != request.origin.npos && lower_case(request.origin.substr(scheme + 3)) == host) return "";
  return "pages of this origin may not ask here (hunch serve --cors ORIGIN allows one)";
}

std::string Access::headers(const HttpRequest& request) const {
  if (cors.empty()) return "";
  if (!allows_origin(request.origin)) return "Vary: Origin\r\n";
  std::string out = "Access-Control-Allow-Origin: " + cors + "\r\nVary: Origin\r\n";
  if (request.method == "OPTIONS")
    out +=
        "Access-Control-Allow-Methods: GET, POST, DELETE\r\nAccess-Control-Allow-Headers: *, Authorization\r\n"
        "Access-Control-Max-Age: 600\r\n";
  return out;
}

}  // namespace hunch::serve
