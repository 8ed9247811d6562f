#include "grammar/char_set.h"

#include <algorithm>

namespace hunch::grammar {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

size_t encode(uint32_t c, uint8_t* out) {
  if (c < 0x80) return out[0] = uint8_t(c), 1;
  size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; --i, c >>= 6) out[i] = uint8_t(0x80 | (c & 0x3F));
  constexpr uint8_t kHead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  out[0] = uint8_t(kHead[n] | c);
  return n;
}

// Characters of equally many bytes, first to last: cut where the trailing bytes are not all of theirs.
void add_ranges(uint32_t first, uint32_t last, std::vector<std::vector<ByteRange>>& out) {
  uint8_t a[4], b[4];
  const size_t n = encode(first, a);
  encode(last, b);
  for (size_t i = 1; i < n; ++i) {
    const uint32_t low = (1u << (6 * i)) - 1;  // of the last i bytes
    if ((first & ~low) == (last & ~low)) continue;
    if (first & low) {
      add_ranges(first, first | low, out);
      return add_ranges((first | low) + 1, last, out);
    }
    if ((last & low) != low) {
      add_ranges(first, (last & ~low) - 1, out);
      return add_ranges(last & ~low, last, out);
    }
  }
  std::vector<ByteRange> sequence;
  for (size_t i = 0; i < n; ++i) sequence.emplace_back(a[i], b[i]);
  out.push_back(std::move(sequence));
}

}  // namespace

void CharSet::add(uint32_t first, uint32_t last) {
  last = std::min(last, kLastChar);
  if (first > last) return;
  if (first <= kLastSurrogate && last >= kFirstSurrogate) {
    if (first < kFirstSurrogate) add(first, kFirstSurrogate - 1);
    if (last > kLastSurrogate) add(kLastSurrogate + 1, last);
    return;
  }
  std::vector<Range> merged;
  bool done = false;
  for (const Range& r : ranges_) {
    if (r.last + 1 < first) {
      merged.push_back(r);
    } else if (last + 1 < r.first) {
      if (!std::exchange(done, true)) merged.push_back({first, last});
      merged.push_back(r);
    } else {
      first = std::min(first, r.first);
      last = std::max(last, r.last);
    }
  }
  if (!done) merged.push_back({first, last});
  ranges_ = std::move(merged);
}

void CharSet::add(const CharSet& other) {
  for (const Range& r : other.ranges_) add(r.first, r.last);
}

CharSet CharSet::complement() const {
  CharSet out;
  uint32_t next = 0;
  for (const Range& r : ranges_) {
    if (r.first > next) out.add(next, r.first - 1);
    next = r.last + 1;
  }
  out.add(next, kLastChar);
  return out;
}

CharSet CharSet::without(const CharSet& other) const { return both(other.complement()); }

CharSet CharSet::both(const CharSet& other) const {
  CharSet out;
  for (const Range& a : ranges_)
    for (const Range& b : other.ranges_) out.add(std::max(a.first, b.first), std::min(a.last, b.last));
  return out;
}

bool CharSet::contains(uint32_t c) const {
  return std::ranges::any_of(ranges_, [&](const Range& r) { return r.first <= c && c <= r.last; });
}

std::vector<std::vector<ByteRange>> utf8_ranges(const CharSet& set) {
  std::vector<std::vector<ByteRange>> out;
  constexpr CharSet::Range kLengths[] = {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xFFFF}, {0x10000, kLastChar}};
  for (const CharSet::Range& r : set.ranges())
    for (const CharSet::Range& l : kLengths)
      if (r.first <= l.last && r.last >= l.first) add_ranges(std::max(r.first, l.first), std::min(r.last, l.last), out);
  return out;
}

}  // namespace hunch::grammar
