#include "io/printable.h"

#include <cstdint>

namespace hunch {
namespace {

// Bytes of the well-formed UTF-8 character that begins at text[i] and can be shown as it is; 0: none does.
size_t shown_bytes(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char b = byte(i);
  if (b < 0x80) return b >= 0x20 && b != 0x7f ? 1 : 0;
  const size_t n = b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
  if (n == 0 || i + n > text.size()) return 0;
  uint32_t c = b & (0xffu >> (n + 1));
  for (size_t k = 1; k < n; ++k) {
    if ((byte(i + k) & 0xc0) != 0x80) return 0;
    c = c << 6 | (byte(i + k) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (c < kLeast[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
  const bool unseen = c < 0xa0 || c == 0xad || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
                      (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
                      (c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xe0000 && c < 0xe1000);
  return unseen ? 0 : n;
}

}  // namespace

std::string printable(std::string_view text, size_t max_chars) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  size_t i = 0;
  while (i < text.size()) {
    const size_t n = shown_bytes(text, i);
    if (i + (n ? n : 1) > max_chars) break;
    if (n) {
      out += text.substr(i, n);
      i += n;
    } else {
      const auto b = static_cast<unsigned char>(text[i++]);
      out += {'\\', 'x', kDigits[b >> 4], kDigits[b & 15]};
    }
  }
  if (i < text.size()) out += "...";
  return out;
}

}  // namespace hunch
