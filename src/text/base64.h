// Base64 (RFC 4648, section 4), as tiktoken and tokenizer.json use it.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace hunch {

// The bytes, or nullopt when the text is not base64. Padding may be left out.
std::optional<std::string> decode_base64(std::string_view text);
// With padding.
std::string encode_base64(std::string_view bytes);

}  // namespace hunch
