// Attention of one query to the pages that may matter to it (Tang et al. 2024, "Quest", arXiv:2406.10774), or to as
// many as are needed for a bound on all others.
#pragma once
#include "select/page_reads.h"
#include "select/page_summaries.h"

namespace hunch {

struct PageBudget {
  size_t page_tokens = 16;  // of a cache in groups: a multiple of kKvGroup
  size_t n_pages = 0;       // that a head reads, or reads at first; more than n_newest
  size_t n_newest = 1;      // of these, always: the last ones, beginning with the query's own
  bool per_head = false;    // every query head chooses for itself; else those that share a KV head choose together
  double tolerance = 0;     // > 0: pages are added until no query head can give all others together a larger share of
                            // its softmax
};

// out, row query.first_token: attention of that row of Q, one token, to the chosen pages of query.kv, whose slots are
// positions. What is bounded is known of all pages before the query's own: summaries.n_pages() >= first_pos /
// page_tokens, more of them than the budget. Query heads that choose together add up their shares of the bounds'
// softmax. Without a window.
PageReads attend_to_pages(Compute& compute, const PageSummaries& summaries, const PageBudget& budget,
                          const AttentionSpan& query, MatView<const float> Q, size_t n_head,
                          const AttentionParams& params, MatView<float> out);

}  // namespace hunch
