// The web page: files that were built from web/ and are part of the binary.
#pragma once
#include <string_view>

#include "serve/http.h"

namespace hunch::serve {

// The bytes of a file of src/serve/page/ ("index.html"); empty: there is none.
std::string_view page_bytes(std::string_view name);

// The answer to GET of "/", "/page.js" or "/page.css": the file, or 304 where the client has it. It may load what this
// server has, show pictures that stand in it, and nothing else.
HttpResponse page_response(const HttpRequest& request);

}  // namespace hunch::serve
