#include "serve/page.h"

#include "base/sha256.h"

namespace hunch::serve {
namespace {

struct PageFile {
  const char *name, *type;
};

PageFile page_file_of(std::string_view path) {
  if (path == "/page.js") return {"page.js", "text/javascript; charset=utf-8"};
  if (path == "/page.css") return {"page.css", "text/css; charset=utf-8"};
  return {"index.html", "text/html; charset=utf-8"};
}

// RFC 9110, section 13.1.2: a list, whose entries may be marked as weak; "*" is any.
bool names_tag(std::string_view list, std::string_view tag) { return list == "*" || list.find(tag) != list.npos; }

}  // namespace

HttpResponse page_response(const HttpRequest& request) {
  const PageFile file = page_file_of(request.path);
  const std::string_view bytes = page_bytes(file.name);
  const std::string tag = '"' + sha256_hex(std::as_bytes(std::span(bytes))).substr(0, 32) + '"';
  HttpResponse response{200, file.type};
  response.headers = {
      {"ETag", tag},
      {"Cache-Control", "no-cache"},  // kept, and asked for again
      {"Content-Security-Policy",
       "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
       "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"}};
  if (names_tag(request.if_none_match, tag)) {
    response.status = 304;
  } else {
    response.body = bytes;
  }
  return response;
}

}  // namespace hunch::serve
