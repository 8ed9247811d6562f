#include "text/charsmap.h"

#include "base/error.h"
#include "text/utf8.h"

namespace hunch {
namespace {

// A unit of the double array: bits 0-7 and 31 label, bit 8 "a key ends here", bit 9 and 10-30 offset.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t label(uint32_t unit) { return unit & (0x80000000u | 0xffu); }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  if (blob.empty()) return;
  const auto u32_at = [&](size_t at) {
    uint32_t v = 0;
    for (size_t k = 0; k < 4; ++k) v |= uint32_t{static_cast<uint8_t>(blob[at + k])} << (8 * k);
    return v;
  };
  if (blob.size() < 4) fail(ErrorKind::kFormat, "precompiled_charsmap: {} bytes are too few", blob.size());
  const uint32_t trie_bytes = u32_at(0);
  if (trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes > blob.size() - 4) {
    fail(ErrorKind::kFormat, "precompiled_charsmap: a trie of {} bytes in a table of {} bytes", trie_bytes,
         blob.size());
  }
  units_.resize(trie_bytes / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = u32_at(4 + 4 * i);
  replacements_ = blob.substr(4 + trie_bytes);
  if (!replacements_.empty() && replacements_.back() != '\0') {
    fail(ErrorKind::kFormat, "precompiled_charsmap: the last replacement has no end");
  }
}

size_t Charsmap::match(std::string_view text, std::string_view& replacement) const {
  size_t longest = 0;
  uint64_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    // A replacement is never asked for by a zero byte: label 0 marks values.
    if (byte == 0 || node >= units_.size() || label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) break;
    const uint32_t at = value(units_[node]);
    if (at >= replacements_.size()) break;
    longest = i + 1;
    replacement = std::string_view(replacements_.c_str() + at);
  }
  return longest;
}

std::string Charsmap::normalize(std::string_view text) const {
  if (units_.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    std::string_view replacement;
    size_t n = match(text.substr(i), replacement);
    const size_t char_bytes = utf8_step(text, i).n_bytes;
    // A key that ends inside a character is a lie of the file.
    if (n == 0 || valid_utf8_prefix(text.substr(i, n)) != n) {
      out += text.substr(i, char_bytes);
      n = char_bytes;
    } else {
      out += replace_invalid_utf8(replacement);
    }
    i += n;
  }
  return out;
}

}  // namespace hunch
