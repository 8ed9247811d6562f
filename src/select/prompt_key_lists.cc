#include "select/prompt_key_lists.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/kv_rows.h"
#include "select/key_policy.h"

namespace hunch {
namespace {

constexpr size_t kBlock = PromptPattern::kQueryBlock;

// A set of positions, from which their list is read off.
class PositionSet {
 public:
  explicit PositionSet(size_t n) : words_((n + 63) / 64) {}
  void add(size_t first, size_t n) {
    for (size_t end = first + n; first < end;) {
      const size_t bit = first % 64, here = std::min(64 - bit, end - first);
      words_[first / 64] |= (here == 64 ? ~uint64_t{0} : (uint64_t{1} << here) - 1) << bit;
      first += here;
    }
  }
  void list(std::vector<uint32_t>& out) const {
    for (size_t w = 0; w < words_.size(); ++w)
      for (uint64_t word = words_[w]; word; word &= word - 1)
        out.push_back(uint32_t(64 * w) + uint32_t(std::countr_zero(word)));
  }

 private:
  std::vector<uint64_t> words_;
};

// Of all KV heads, added up over the chunk's last `n` queries.
struct AllVotes {
  MatView<float> keys, distances;  // [n_kv_head, tokens up to the chunk's end]
};
AllVotes vote(Compute& compute, const PromptChunk& chunk, size_t n) {
  n = std::min(n, chunk.Q.rows);
  const size_t n_heads = chunk.view.n_kv_head, end = chunk.first_position + chunk.Q.rows;
  const auto zeros = [&] {
    const MatView<float> m(compute.arena.take<float>(n_heads * end).data(), n_heads, end);
    std::fill_n(m.data, n_heads * end, 0.0f);
    return m;
  };
  const AllVotes votes{zeros(), zeros()};
  const MatView<float> unused(compute.arena.take<float>(n * chunk.Q.cols).data(), n, chunk.Q.cols);
  AttentionSpan span{chunk.view, 0, n, end - n};
  span.key_weights = votes.keys;
  span.distance_weights = votes.distances;
  attention(compute, chunk.Q.row_range(chunk.Q.rows - n, n), chunk.n_head, {&span, 1}, chunk.params, unused);
  return votes;
}

// The mean key of each block of kBlock tokens before `end`, of one head, as queries meet it. [n_blocks, d_head]
void mean_keys(const KvView& kv, size_t head, size_t end, MatView<float> means) {
  std::vector<float> key(kv.d_head);
  for (size_t b = 0; b < means.rows; ++b) {
    const std::span<float> mean = means.row(b);
    std::ranges::fill(mean, 0.0f);
    const size_t last = std::min(end, (b + 1) * kBlock);
    for (size_t j = b * kBlock; j < last; ++j) {
      read_kv_rows(kv, KvPart::kKeys, head, j, {key.data(), 1, kv.d_head});
      for (size_t i = 0; i < kv.d_head; ++i) mean[i] += key[i];
    }
    for (float& v : mean) v /= float(last - b * kBlock);
  }
}

// Blocks of keys by what the softmax over them gives to the mean query of each head of the group, summed.
void block_keys(const PromptChunk& chunk, size_t kv_head, MatView<const float> means, size_t n_blocks_kept,
                const AttentionSpan& span, std::vector<uint32_t>& out) {
  const size_t d = chunk.view.d_head, group = chunk.n_head / chunk.view.n_kv_head;
  const size_t own = span.first_pos / kBlock, n_before = own;  // blocks before the query's own
  std::vector<float> votes(n_before), scores(n_before), q(d);
  for (size_t h = 0; h < group; ++h) {
    std::ranges::fill(q, 0.0f);
    for (size_t t = 0; t < span.n_tokens; ++t) {
      const float* const row =
          chunk.Q.row(span.first_pos - chunk.first_position + t).data() + (kv_head * group + h) * d;
      for (size_t i = 0; i < d; ++i) q[i] += row[i] / float(span.n_tokens);
    }
    float max = -INFINITY, sum = 0;
    for (size_t b = 0; b < n_before; ++b) {
      scores[b] = chunk.params.scale * std::inner_product(q.begin(), q.end(), means.row(b).begin(), 0.0f);
      max = std::max(max, scores[b]);
    }
    for (float& s : scores) sum += s = std::exp(s - max);
    for (size_t b = 0; b < n_before; ++b) votes[b] += scores[b] / sum;
  }
  std::vector<uint32_t> blocks;
  largest_votes(votes, 1, n_blocks_kept - 1, blocks);
  blocks.push_back(uint32_t(own));
  for (const uint32_t b : blocks)
    for (size_t j = b * kBlock; j < std::min((b + 1) * kBlock, span.first_pos + span.n_tokens); ++j)
      out.push_back(uint32_t(j));
}

}  // namespace

void largest_votes(std::span<const float> votes, size_t n_always, size_t n, std::vector<uint32_t>& out) {
  out.clear();
  n_always = std::min({n_always, n, votes.size()});
  append_range(0, n_always, out);
  append_heaviest(votes, n_always, votes.size(), n - n_always, out);
}

void a_shape_keys(const PromptPattern& pattern, size_t first, size_t n, std::vector<uint32_t>& out) {
  const size_t local = first + 1 - std::min(first + 1, pattern.budget - pattern.sinks);
  append_range(0, std::min(pattern.sinks, local), out);
  append_range(local, first + n, out);
}

void vertical_slash_keys(std::span<const uint32_t> verticals, std::span<const uint32_t> slashes, size_t first, size_t n,
                         std::vector<uint32_t>& out) {
  PositionSet set(first + n);
  for (const uint32_t key : verticals)
    if (key < first + n) set.add(key, 1);
  for (const uint32_t distance : slashes) {
    if (distance >= first + n) continue;
    const size_t begin = first - std::min<size_t>(first, distance);
    set.add(begin, first + n - distance - begin);
  }
  set.list(out);
}

void limit_prompt(Compute& compute, const PromptPatterns& patterns, const PromptChunk& chunk,
                  std::span<AttentionSpan> spans, std::vector<Rows>& lists) {
  const KvView& kv = chunk.view;
  const size_t end = chunk.first_position + chunk.Q.rows, n_heads = kv.n_kv_head;
  HUNCH_CHECK(kv.positions.empty(), "patterns of a cache that dropped tokens");
  lists.resize(std::max(lists.size(), spans.size() * n_heads));
  const Arena::Scope scope(compute.arena);
  size_t n_voting = 0;
  for (size_t head = 0; head < n_heads; ++head)
    if (const PromptPattern& p = patterns.at(chunk.layer, head);
        p.kind == PatternKind::kVerticalSlash && end > p.budget)
      n_voting = std::max(n_voting, p.queries);
  const AllVotes votes = n_voting ? vote(compute, chunk, n_voting) : AllVotes();
  const size_t n_blocks = (end + kBlock - 1) / kBlock;
  float* const means = compute.arena.take<float>(n_heads * n_blocks * kv.d_head).data();
  compute.threads.parallel_for_dynamic(n_heads, 1, [&](size_t from, size_t to, size_t) {
    for (size_t head = from; head < to; ++head) {
      const PromptPattern& p = patterns.at(chunk.layer, head);
      const bool reads_all = p.kind == PatternKind::kDense || end <= p.budget;
      std::vector<uint32_t> verticals, slashes;
      if (!reads_all && p.kind == PatternKind::kVerticalSlash) {
        const size_t n_keys = std::max(p.sinks, size_t(p.verticals * double(p.budget)));
        const size_t n_slashes = std::max(PromptPattern::kLocal, p.budget - std::min(p.budget, n_keys));
        largest_votes(votes.keys.row(head), p.sinks, p.budget - n_slashes, verticals);
        largest_votes(votes.distances.row(head), PromptPattern::kLocal, n_slashes, slashes);
      }
      const MatView<float> own(means + head * n_blocks * kv.d_head, n_blocks, kv.d_head);
      if (!reads_all && p.kind == PatternKind::kBlocks) mean_keys(kv, head, end, own);
      for (size_t s = 0; s < spans.size(); ++s) {
        const AttentionSpan& span = spans[s];
        Rows& list = lists[s * n_heads + head];
        if (reads_all || span.first_pos + span.n_tokens <= p.budget) {
          list.refill_all(kv.n_slots(head));
          continue;
        }
        std::vector<uint32_t>& out = list.refill(kv.n_slots(head));
        // From where the block begins, so that it does not matter where the prompt is cut.
        if (const size_t begin = span.first_pos / kBlock * kBlock; p.kind == PatternKind::kAShape)
          a_shape_keys(p, begin, span.first_pos + span.n_tokens - begin, out);
        if (p.kind == PatternKind::kVerticalSlash)
          vertical_slash_keys(verticals, slashes, span.first_pos, span.n_tokens, out);
        if (p.kind == PatternKind::kBlocks) block_keys(chunk, head, own, p.budget / kBlock, span, out);
      }
    }
  });
  for (size_t s = 0; s < spans.size(); ++s) spans[s].keys = std::span(lists).subspan(s * n_heads, n_heads);
}

}  // namespace hunch
