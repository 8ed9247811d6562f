// SentencePiece's precompiled normalisation table: a double-array trie (Aoe 1989, as in the darts-clone
// library) from byte strings to their replacements. Layout: uint32 size of the trie in bytes, the trie's
// uint32 units, then the replacements, each ended by a zero byte. Little endian.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

class Charsmap {
 public:
  Charsmap() = default;  // changes nothing
  // Throws Error{kFormat} when the blob is truncated or its replacements are not closed.
  explicit Charsmap(std::string_view blob);

  // Replaces, left to right, the longest key that begins at each place; valid UTF-8 in, valid UTF-8 out.
  std::string normalize(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;

  // The number of bytes that the longest key at text[0] covers, 0 if none; its replacement.
  size_t match(std::string_view text, std::string_view& replacement) const;
};

}  // namespace hunch
