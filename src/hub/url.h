// Text as part of a URL. (What takes URLs apart is libcurl's: hub/http.h.)
#pragma once
#include <string>
#include <string_view>

namespace hunch {

// Percent-encodes everything but letters, digits and "-._~", and '/' too unless keep_slash.
std::string url_escape(std::string_view text, bool keep_slash);

}  // namespace hunch
