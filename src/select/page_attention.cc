#include "select/page_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "kernels/attention_merge.h"
#include "kernels/ops.h"
#include "kernels/page_bounds.h"
#include "select/chosen_pages.h"
#include "select/key_policy.h"

namespace hunch {
namespace {

constexpr float kHighest = 1e30f;  // a bound of which nothing is known

// Those that read the same pages: a query head, or all that share a KV head.
struct Reader {
  size_t id = 0, kv_head = 0, first_head = 0;
  MatView<float> shares;       // [n_heads, n_pages] of the bounds' softmax, where they are wanted
  std::span<float> log_total;  // [n_heads] the log of its sum
  std::span<float> score;      // [n_pages] by which pages are chosen
  std::span<uint32_t> order;   // [n_pages] first those that were read
  size_t n_read = 0, n_next = 0;
  MatView<float> stats, more_stats;  // [2, n_heads] AttentionSpan::stats of what was read, and of the next part
};

class PageAttention {
 public:
  PageAttention(Compute& compute, const PageSummaries& summaries, const PageBudget& budget, const AttentionSpan& query,
                MatView<const float> Q, size_t n_head, const AttentionParams& params, MatView<float> out)
      : compute_(compute),
        summaries_(summaries),
        budget_(budget),
        query_(query),
        Q_(Q.row_range(query.first_token, 1)),
        out_(out.row_range(query.first_token, 1)),
        params_(params),
        n_head_(n_head),
        n_group_(n_head / query.kv.n_kv_head),
        n_together_(budget.per_head ? 1 : n_group_),
        n_seen_(query.first_pos + 1),
        n_pages_(query.first_pos / budget.page_tokens + 1 - budget.n_newest),
        with_shares_(n_together_ > 1 || budget.tolerance > 0),
        pages_(compute, query.kv, budget.page_tokens, n_head / n_together_, !params.alibi_slopes.empty()) {
    params_.spans_as_alone = false;  // one token at a time is alone
    if (budget.tolerance > 0) params_.sinks = {};
  }

  PageReads run() {
    make_readers();
    choose();
    attend();
    if (budget_.tolerance > 0) {
      while (certify()) attend_to_more();
      weigh_sinks();
    }
    PageReads reads;
    for (const Reader& reader : readers_) {
      ++reads.n_choices;
      reads.n_read += reader.n_read + budget_.n_newest;
      reads.n_of += n_pages_ + budget_.n_newest;
      reads.n_whole += reader.n_read == n_pages_;
      reads.n_keys += reader.n_read * budget_.page_tokens + n_seen_ - n_pages_ * budget_.page_tokens;
    }
    return reads;
  }

 private:
  size_t d_head() const { return query_.kv.d_head; }

  void make_readers() {
    Arena& arena = compute_.arena;
    const size_t n_per_kv = n_group_ / n_together_;
    readers_ = arena.take<Reader>(query_.n_kv_heads() * n_per_kv);
    for (size_t i = 0; i < readers_.size(); ++i) {
      const size_t kv_head = query_.all_heads ? i / n_per_kv : query_.kv_heads[i / n_per_kv];
      Reader& r = *new (&readers_[i]) Reader();
      r.kv_head = kv_head;
      r.id = kv_head * n_per_kv + i % n_per_kv;
      r.first_head = r.id * n_together_;
      r.shares = {arena.take<float>(n_together_ * n_pages_).data(), n_together_, n_pages_};
      r.score = with_shares_ ? arena.take<float>(n_pages_) : r.shares.row(0);
      r.log_total = arena.take<float>(n_together_);
      r.order = arena.take<uint32_t>(n_pages_);
      r.stats = {arena.take<float>(2 * n_together_).data(), 2, n_together_};
      r.more_stats = {arena.take<float>(2 * n_together_).data(), 2, n_together_};
    }
  }

  // What the pages are worth to each reader, and which are read first.
  void choose() {
    const size_t n_threads = compute_.threads.n_threads(), n_scratch = page_bounds_scratch(n_together_, d_head());
    float* const scratch = compute_.arena.take<float>(n_threads * n_scratch).data();
    compute_.threads.parallel_for_dynamic(readers_.size(), 1, [&](size_t begin, size_t end, size_t thread) {
      for (size_t i = begin; i < end; ++i) {
        score(readers_[i], scratch + thread * n_scratch);
        std::iota(readers_[i].order.begin(), readers_[i].order.end(), 0u);
        readers_[i].n_next = budget_.n_pages - budget_.n_newest;
        keep_heaviest(readers_[i].score, readers_[i].n_next, readers_[i].order);
      }
    });
    compute_.meter.read_kv(readers_.size() * n_pages_ * summaries_.bytes());
  }

  void score(Reader& reader, float* scratch) const {
    const MatView<const float> q(Q_.data + reader.first_head * d_head(), n_together_, d_head());
    summaries_.bound(reader.kv_head, q, reader.shares, scratch);
    for (size_t i = 0; i < n_together_; ++i) shape(reader.first_head + i, reader.shares.row(i));
    if (!with_shares_) return;
    if (n_together_ == 1) std::ranges::copy(reader.shares.row(0), reader.score.begin());
    for (size_t i = 0; i < n_together_; ++i) reader.log_total[i] = softmax(reader.shares.row(i));
    if (n_together_ == 1) return;
    std::ranges::copy(reader.shares.row(0), reader.score.begin());
    for (size_t i = 1; i < n_together_; ++i) add(reader.shares.row(i), reader.score);
  }

  // Bounds of products as bounds of the scores that the model makes of them.
  void shape(size_t head, std::span<float> bounds) const {
    for (float& bound : bounds) bound = std::clamp(bound * params_.scale, -kHighest, kHighest);
    if (params_.soft_cap > 0) soft_cap(params_.soft_cap, bounds);
    if (params_.alibi_slopes.empty()) return;
    const float slope = params_.alibi_slopes[head];
    for (size_t p = 0; p < bounds.size(); ++p) {
      const size_t nearest = (p + 1) * budget_.page_tokens - 1, farthest = p * budget_.page_tokens;
      bounds[p] -= slope * float(n_seen_ - 1 - (slope > 0 ? nearest : farthest));
    }
  }

  void attend() {
    const std::span<AttentionSpan> spans = compute_.arena.take<AttentionSpan>(readers_.size());
    for (size_t i = 0; i < readers_.size(); ++i) {
      Reader& reader = readers_[i];
      const std::span<uint32_t> pages = compute_.arena.take<uint32_t>(reader.n_next + budget_.n_newest);
      std::ranges::copy(reader.order.first(reader.n_next), pages.begin());
      std::iota(pages.end() - ptrdiff_t(budget_.n_newest), pages.end(), uint32_t(n_pages_));
      new (&spans[i]) AttentionSpan(pages_.span(reader.id, pages, n_seen_));
      if (budget_.tolerance > 0) spans[i].stats = reader.stats;
      reader.n_read = reader.n_next;
    }
    attention(compute_, Q_, n_head_, spans, params_, out_);
  }

  // Which pages each reader reads next, whose bound is too high; false: none.
  bool certify() {
    compute_.threads.parallel_for_dynamic(readers_.size(), 1, [&](size_t begin, size_t end, size_t) {
      for (size_t i = begin; i < end; ++i) readers_[i].n_next = n_needed(readers_[i]);
    });
    return std::ranges::any_of(readers_, [](const Reader& reader) { return reader.n_next > 0; });
  }

  // Moves the pages that a reader needs next to the front of its unread ones; returns how many. They would do with what
  // was read so far, and what they hold themselves only makes the others weigh less; but no more are taken at once than
  // were read.
  size_t n_needed(Reader& reader) const {
    const std::span<uint32_t> unread = reader.order.subspan(reader.n_read);
    if (unread.empty()) return 0;
    bool is_bounded = true;
    for (size_t i = 0; i < n_together_; ++i)
      is_bounded = is_bounded && is_within(reader, i, share_of(reader, i, unread), unread.size());
    if (is_bounded) return 0;
    const size_t n_most = std::min(unread.size(), reader.n_read + budget_.n_newest);
    keep_heaviest(reader.score, n_most, unread);
    std::ranges::sort(unread.first(n_most), [&](uint32_t a, uint32_t b) {
      return reader.score[a] != reader.score[b] ? reader.score[a] > reader.score[b] : a < b;
    });
    size_t n = 0;
    for (size_t i = 0; i < n_together_; ++i) {
      double share = share_of(reader, i, unread.subspan(n));
      for (; n < n_most && !is_within(reader, i, share, unread.size() - n); ++n)
        share -= double(reader.shares.row(i)[unread[n]]);
    }
    std::ranges::sort(unread.first(n));
    return n;
  }

  static double share_of(const Reader& reader, size_t i, std::span<const uint32_t> pages) {
    const std::span<const float> shares = reader.shares.row(i);
    double sum = 0;
    for (const uint32_t page : pages) sum += double(shares[page]);
    return sum;
  }

  // Whether pages with this share of the bounds' softmax weigh at most the tolerance beside what was read.
  bool is_within(const Reader& reader, size_t i, double share, size_t n_pages) const {
    share += double(n_pages) * double(std::numeric_limits<float>::min());  // shares may have become nothing
    const double max = double(reader.stats.row(0)[i]), read = double(reader.stats.row(1)[i]);
    const double unread = double(budget_.page_tokens) * std::exp(double(reader.log_total[i]) - max) * share;
    return unread <= budget_.tolerance * (read + unread);
  }

  void attend_to_more() {
    const Arena::Scope scope(compute_.arena);
    const size_t n = size_t(std::ranges::count_if(readers_, [](const Reader& r) { return r.n_next > 0; }));
    const std::span<AttentionSpan> spans = compute_.arena.take<AttentionSpan>(n);
    const MatView<float> more(compute_.arena.take<float>(out_.cols).data(), 1, out_.cols);
    size_t next = 0;
    for (const Reader& reader : readers_) {
      if (reader.n_next == 0) continue;
      AttentionSpan& span = *new (&spans[next++]) AttentionSpan(
          pages_.span(reader.id, reader.order.subspan(reader.n_read, reader.n_next), n_seen_));
      span.stats = reader.more_stats;
    }
    attention(compute_, Q_, n_head_, spans, params_, more);
    for (Reader& reader : readers_) {
      if (reader.n_next == 0) continue;
      reader.n_read += reader.n_next;
      for (size_t i = 0; i < n_together_; ++i) merge(reader, i, more);
    }
  }

  // What was read and the next part, each weighed by its sum.
  void merge(Reader& reader, size_t i, MatView<const float> more) const {
    const size_t first = (reader.first_head + i) * d_head();
    merge_attention(more.row(0).subspan(first, d_head()), reader.more_stats.row(0)[i], reader.more_stats.row(1)[i],
                    out_.row(0).subspan(first, d_head()), reader.stats.row(0)[i], reader.stats.row(1)[i]);
  }

  // Sinks were left out, so that they count once.
  void weigh_sinks() const {
    for (const Reader& reader : readers_)
      for (size_t i = 0; !sinks_.empty() && i < n_together_; ++i) {
        const float max = reader.stats.row(0)[i], sum = reader.stats.row(1)[i];
        scale(sum / (sum + std::exp(sinks_[reader.first_head + i] - max)),
              out_.row(0).subspan((reader.first_head + i) * d_head(), d_head()));
      }
  }

  Compute& compute_;
  const PageSummaries& summaries_;
  const PageBudget& budget_;
  const AttentionSpan& query_;
  const MatView<const float> Q_;
  const MatView<float> out_;
  AttentionParams params_;
  const std::span<const float> sinks_ = params_.sinks;
  const size_t n_head_, n_group_, n_together_;  // query heads: all, of a KV head, of a reader
  const size_t n_seen_, n_pages_;               // tokens; pages to choose from
  const bool with_shares_;
  ChosenPages pages_;
  std::span<Reader> readers_;
};

}  // namespace

PageReads attend_to_pages(Compute& compute, const PageSummaries& summaries, const PageBudget& budget,
                          const AttentionSpan& query, MatView<const float> Q, size_t n_head,
                          const AttentionParams& params, MatView<float> out) {
  const size_t n_pages = query.first_pos / budget.page_tokens + 1;
  HUNCH_CHECK(query.n_tokens == 1 && params.window == 0 && params.causal && query.keys.empty(), "one query");
  HUNCH_CHECK(budget.n_newest >= 1 && budget.n_newest < budget.n_pages && budget.n_pages < n_pages &&
                  summaries.n_pages() + 1 >= n_pages,
              "{} of {} pages, the {} newest always; {} are known", budget.n_pages, n_pages, budget.n_newest,
              summaries.n_pages());
  const Arena::Scope scope(compute.arena);
  return PageAttention(compute, summaries, budget, query, Q, n_head, params, out).run();
}

}  // namespace hunch
