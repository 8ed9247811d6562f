// Bytes as text (RFC 4648, section 4).
#pragma once
#include <string>
#include <string_view>

namespace hunch::serve {

// Padded.
std::string encode_base64(std::string_view bytes);

}  // namespace hunch::serve
