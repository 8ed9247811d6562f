// Names from files, made fit for a message: control and non-ASCII bytes escaped, long ones cut.
#pragma once
#include <string>
#include <string_view>

namespace hunch {

// At most `max_chars` bytes of `text`, with bytes outside printable ASCII as \xNN.
inline std::string printable(std::string_view text, size_t max_chars = 100) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (char c : text.substr(0, max_chars)) {
    const auto b = static_cast<unsigned char>(c);
    if (b >= 0x20 && b < 0x7f) {
      out += c;
    } else {
      out += {'\\', 'x', kDigits[b >> 4], kDigits[b & 15]};
    }
  }
  if (text.size() > max_chars) out += "...";
  return out;
}

}  // namespace hunch
