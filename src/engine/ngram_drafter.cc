#include "engine/ngram_drafter.h"

#include <algorithm>

namespace hunch {
namespace {

// Occurrences that are compared, newest first: a frequent pair in a long text has thousands.
constexpr size_t kMaxCompared = 64;

uint64_t pair_key(int32_t a, int32_t b) { return uint64_t(uint32_t(a)) << 32 | uint32_t(b); }

size_t common_ending(std::span<const int32_t> a, std::span<const int32_t> b, size_t max) {
  size_t n = 0;
  while (n < max && n < a.size() && n < b.size() && a[a.size() - 1 - n] == b[b.size() - 1 - n]) ++n;
  return n;
}

}  // namespace

// Brings the index up to `text`: forgets what differs, adds what is new.
void NgramDrafter::index(std::span<const int32_t> text) {
  const size_t n_same = size_t(std::ranges::mismatch(text_, text).in1 - text_.begin());
  while (text_.size() > n_same) {
    if (text_.size() >= kShortest) {
      const auto at = after_.find(pair_key(text_[text_.size() - 2], text_.back()));
      at->second.pop_back();
      if (at->second.empty()) after_.erase(at);
    }
    text_.pop_back();
  }
  for (size_t i = n_same; i < text.size(); ++i) {
    text_.push_back(text[i]);
    if (text_.size() >= kShortest)
      after_[pair_key(text_[text_.size() - 2], text_.back())].push_back(uint32_t(text_.size()));
  }
}

void NgramDrafter::draft(std::span<const int32_t> text, size_t, size_t n_max, const Pace& pace, Draft& draft) {
  index(text);
  if (text.size() < kShortest) return;
  const auto found = after_.find(pair_key(text[text.size() - 2], text.back()));
  size_t best_length = 0, best = 0, n_compared = 0;
  // The last entry is the end of the text itself.
  for (size_t i = found->second.size() - 1; i-- > 0 && n_compared < kMaxCompared && best_length < kLongest;
       ++n_compared) {
    const size_t position = found->second[i];
    const size_t length = common_ending(text.first(position), text, kLongest);
    if (length > best_length) best_length = length, best = position;
  }
  if (best_length == 0) return;
  const auto evidence = uint8_t(best_length);
  const size_t n = pace.n_worth_drafting(evidence, n_max);
  for (size_t i = 0; i < n; ++i) {
    const size_t at = best + i;
    draft.ids.push_back(at < text.size() ? text[at] : draft.ids[at - text.size()]);
    draft.evidence.push_back(evidence);
  }
}

}  // namespace hunch
