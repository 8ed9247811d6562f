#include "parallel/rounded_sums.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace hunch {
namespace {

constexpr size_t kBlock = RoundedSums::kBlock;

size_t n_blocks(size_t n) { return (n + kBlock - 1) / kBlock; }
// Of the message, whose numbers are scales and then four codes each.
size_t n_sent(size_t n) { return n_blocks(n) * (1 + kBlock / 4); }

// The largest of the magnitudes; not a number where one of them is none, since bits are compared.
float most_of(std::span<const float> block) {
  uint32_t most = 0;
  for (const float v : block) most = std::max(most, std::bit_cast<uint32_t>(v) & 0x7FFFFFFF);
  return std::bit_cast<float>(most);
}

void encode(std::span<const float> x, std::vector<float>& message) {
  message.assign(n_sent(x.size()), 0.0f);
  auto* codes = reinterpret_cast<int8_t*>(message.data() + n_blocks(x.size()));
  for (size_t b = 0; b < n_blocks(x.size()); ++b) {
    const std::span<const float> block = x.subspan(b * kBlock, std::min(kBlock, x.size() - b * kBlock));
    const float most = most_of(block);
    message[b] = most / 127;
    const float inverse = most > 0 ? 127 / most : 0;
    // Rounded to nearest by what a float of this size has no bits for: compilers make vectors of that.
    constexpr float kNoFraction = 12582912.0f;  // 1.5 * 2^23
    for (size_t i = 0; i < block.size(); ++i)
      codes[b * kBlock + i] = int8_t(std::bit_cast<int32_t>(block[i] * inverse + kNoFraction));
  }
}

// y = or += what the message says.
template <bool kAdds>
void decode(const std::vector<float>& message, std::span<float> y) {
  const auto* codes = reinterpret_cast<const int8_t*>(message.data() + n_blocks(y.size()));
  for (size_t b = 0; b < n_blocks(y.size()); ++b) {
    const size_t end = std::min(kBlock, y.size() - b * kBlock);
    for (size_t i = b * kBlock; i < b * kBlock + end; ++i) y[i] = (kAdds ? y[i] : 0) + message[b] * float(codes[i]);
  }
}

}  // namespace

// The part of a sum that this rank adds up: whole blocks.
std::span<float> RoundedSums::part_of(size_t rank) const {
  const size_t n = n_blocks(summed_.size());
  const auto first = [&](size_t r) { return std::min(summed_.size(), r * n / n_ranks() * kBlock); };
  return summed_.subspan(first(rank), first(rank + 1) - first(rank));
}

void RoundedSums::begin_sum(std::span<float> x) {
  summed_ = x.size() < kLeast ? std::span<float>() : x;
  if (summed_.empty()) return ranks_.begin_sum(x);
  for (size_t to = 0; to < n_ranks(); ++to) {
    if (to == rank()) continue;
    encode(n_ranks() == 2 ? summed_ : part_of(to), sent_);
    ranks_.send(to, sent_);
  }
}

void RoundedSums::add_from(size_t from, std::span<float> sum) {
  received_.resize(n_sent(sum.size()));
  ranks_.receive(from, received_);
  decode<true>(received_, sum);
}

void RoundedSums::finish_sum() {
  if (summed_.empty()) return ranks_.finish_sum();
  if (n_ranks() == 2) {  // each adds up everything, of numbers that both have
    decode<false>(sent_, summed_);
    return add_from(1 - rank(), summed_);
  }
  const std::span<float> own = part_of(rank());
  for (size_t from = 0; from < n_ranks(); ++from)
    if (from != rank()) add_from(from, own);
  encode(own, sent_);
  decode<false>(sent_, own);
  for (size_t to = 0; to < n_ranks(); ++to)
    if (to != rank()) ranks_.send(to, sent_);
  for (size_t from = 0; from < n_ranks(); ++from) {
    if (from == rank()) continue;
    const std::span<float> part = part_of(from);
    received_.resize(n_sent(part.size()));
    ranks_.receive(from, received_);
    decode<false>(received_, part);
  }
}

}  // namespace hunch
