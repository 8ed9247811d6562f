// Sets of Unicode characters, and their UTF-8.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

namespace hunch::grammar {

constexpr uint32_t kLastChar = 0x10FFFF;

// Surrogates are no characters: they are never in a set.
class CharSet {
 public:
  struct Range {
    uint32_t first, last;
    bool operator==(const Range&) const = default;
  };
  CharSet() = default;
  CharSet(std::initializer_list<Range> ranges) {
    for (const Range& r : ranges) add(r.first, r.last);
  }
  static CharSet all() { return {{0, kLastChar}}; }

  void add(uint32_t first, uint32_t last);
  void add(const CharSet& other);
  CharSet complement() const;
  CharSet without(const CharSet& other) const;
  CharSet both(const CharSet& other) const;
  bool contains(uint32_t c) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }  // ascending, apart from each other
  bool operator==(const CharSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

// A set of characters as sequences of ranges of bytes: each sequence of one byte of each range is the UTF-8 of one.
using ByteRange = std::pair<uint8_t, uint8_t>;
std::vector<std::vector<ByteRange>> utf8_ranges(const CharSet& set);

}  // namespace hunch::grammar
