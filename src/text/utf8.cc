#include "text/utf8.h"

namespace hunch {

Utf8Step utf8_step(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
  const uint8_t lead = byte(i);
  if (lead < 0x80) return {Utf8Step::Status::kValid, lead, 1};
  // The first continuation byte has a narrower range after E0, ED, F0 and F4.
  size_t n = 0;
  uint8_t lo = 0x80, hi = 0xbf;
  uint32_t cp = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    n = 2, cp = lead & 0x1f;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    n = 3, cp = lead & 0x0f;
    if (lead == 0xe0) lo = 0xa0;
    if (lead == 0xed) hi = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    n = 4, cp = lead & 0x07;
    if (lead == 0xf0) lo = 0x90;
    if (lead == 0xf4) hi = 0x8f;
  } else {
    return {Utf8Step::Status::kInvalid, 0, 1};
  }
  for (size_t k = 1; k < n; ++k) {
    if (i + k >= text.size()) return {Utf8Step::Status::kIncomplete, 0, k};
    const uint8_t b = byte(i + k);
    if (b < lo || b > hi) return {Utf8Step::Status::kInvalid, 0, k};
    lo = 0x80, hi = 0xbf;
    cp = (cp << 6) | (b & 0x3f);
  }
  return {Utf8Step::Status::kValid, cp, n};
}

void append_utf8(std::string& out, uint32_t cp) {
  const auto put = [&](uint32_t b) { out += static_cast<char>(b); };
  if (cp < 0x80) {
    put(cp);
  } else if (cp < 0x800) {
    put(0xc0 | (cp >> 6)), put(0x80 | (cp & 0x3f));
  } else if (cp < 0x10000) {
    put(0xe0 | (cp >> 12)), put(0x80 | ((cp >> 6) & 0x3f)), put(0x80 | (cp & 0x3f));
  } else {
    put(0xf0 | (cp >> 18)), put(0x80 | ((cp >> 12) & 0x3f)), put(0x80 | ((cp >> 6) & 0x3f)), put(0x80 | (cp & 0x3f));
  }
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const Utf8Step step = utf8_step(text, i);
    if (step.status != Utf8Step::Status::kValid) break;
    i += step.n_bytes;
  }
  return i;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    if (step.status == Utf8Step::Status::kValid) {
      out.append(text.substr(i, step.n_bytes));
    } else {
      append_utf8(out, 0xfffd);
    }
    i += step.n_bytes;
  }
  return out;
}

}  // namespace hunch
