#include "select/listed_keys.h"

namespace hunch {

PageReads ListedState::attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query,
                              MatView<const float> Q, size_t n_head, const AttentionParams& params,
                              MatView<float> out) {
  if (place.layer < n_full_ || params.window > 0) {
    attention(compute, Q, n_head, {&query, 1}, params, out);
    return {};
  }
  const KvView& kv = query.kv;
  const size_t group = n_head / kv.n_kv_head;
  lists_.resize(kv.n_kv_head);
  for (Rows& list : lists_) list.refill_all(kv.n_tokens);
  for (size_t i = 0; i < query.n_kv_heads(); ++i) {
    const size_t head = query.all_heads ? i : query.kv_heads[i];
    const MatView<const float> q(Q.row(query.first_token).data() + head * group * kv.d_head, group, kv.d_head);
    choose(compute, place, query, head, q, lists_[head].refill(kv.n_tokens));
  }
  AttentionSpan listed = query;
  listed.keys = lists_;
  attention(compute, Q, n_head, {&listed, 1}, params, out);
  PageReads reads;
  reads.n_keys = n_keys_seen(listed, 0);
  return reads;
}

}  // namespace hunch
