// Who says which cached tokens matter: asked at Point::kKeys, once for each layer of a pass.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention.h"
#include "select/page_reads.h"
#include "select/selector.h"

namespace hunch {

// Of which layer of a sequence's cache it is the talk.
struct KeyPlace {
  size_t layer = 0, n_layer = 0;
  KvView view;  // its slots, those of the pass's tokens included
};

// How a layer's RoPE turns queries and keys.
class KeyTurns {
 public:
  virtual ~KeyTurns() = default;
  virtual size_t n_pairs() const = 0;  // 0: it turns nothing
  virtual bool interleaved() const = 0;
  // cos and sin [n_pairs] of a position of the text as it is now long.
  virtual void at(size_t position, std::span<float> cos, std::span<float> sin) const = 0;
};

// Queries of a pass, as attention has them.
struct QueriesSeen {
  MatView<const float> Q;  // [n, n_head * d_head], consecutive tokens
  size_t n_head = 0, first_position = 0;
  const AttentionParams& params;  // what it refers to outlives the model's passes
  bool is_prompt = false;
  const KeyTurns* turns = nullptr;  // valid during the call; none: no RoPE
};

// Of the tokens up to a span's last, those whose keys and values all that come after it will read as it does: in groups
// its own group is not yet what it will be.
inline size_t n_settled(const AttentionSpan& span) {
  return span.kv.groups.bits ? span.kv.groups.first_tail : span.first_pos + span.n_tokens;
}

// So many of a span's queries, from number `first` on.
inline AttentionSpan part_of(const AttentionSpan& span, size_t first, size_t n) {
  AttentionSpan part = span;
  part.first_token += first;
  part.first_pos += first;
  part.n_tokens = n;
  return part;
}

// What a selector of keys remembers of a sequence. In every pass, for each layer in turn: readable(), observe(); and
// when the pass has succeeded, for each layer: keep(), but not before all of a prompt's chunk was seen. Asked again,
// keep() keeps what is left.
class KeyState : public SelectorState {
 public:
  // The slots that the coming attention may read, one list for each KV head; empty: all of all. Valid until the next
  // question. Asked about one token at a time, never about a prompt.
  virtual std::span<const Rows> readable(const KeyPlace&) { return {}; }

  // Of the values of how many keys the coming attention may read only, of n_keys that it may read: of those with the
  // largest weights. 0: of all. Asked when readable() is.
  virtual size_t n_values(const KeyPlace&, size_t /*n_keys*/) const { return 0; }

  // Whether observe() wants to see anything: it costs a second reading of the keys.
  virtual bool learns() const { return false; }
  // Of how many of a pass's queries it wants to see the weights: the last ones.
  virtual size_t n_watched() const { return SIZE_MAX; }
  // Whether it wants the largest weight that any of them gave instead of their sum.
  virtual bool wants_largest() const { return false; }
  //   weights [n_kv_head, n_slots]     attention weights that each slot got, summed over these queries and over the
  //                                    query heads that share a KV head; zeros for heads that were not computed
  //   heads [n_tokens, n_head * d_head]  what the heads gave
  virtual void observe(const KeyPlace&, MatView<const float> /*weights*/, MatView<const float> /*heads*/) {}

  // How many of a text's last queries it wants to see: of every pass its last ones, at most so many.
  virtual size_t n_queries() const { return 0; }
  virtual void see(const KeyPlace&, const QueriesSeen&) {}

  // Of a selector that rereads(): the text is about to be computed once more behind itself, a part at a time, to see
  // what of it that takes, which observe() shows; and that is over.
  virtual void begin_rereading() {}
  virtual void end_rereading() {}

  // Before keep(), for who computes something for that.
  virtual void decide(Compute&, const KeyPlace&) {}
  // The slots that stay, one list for each KV head: out[head] is refilled. Heads that a later layer may read must not
  // be empty. Not asked of a selector that drops nothing.
  virtual void keep(const KeyPlace& place, std::span<Rows> out) = 0;

  // Where KeySelector::attends(): attention of one query of a token that is decoded or verified (or read), row
  // query.first_token of Q, to what it finds worth reading; `out` as attention() has it. The answer does not depend on
  // what else the pass computes.
  virtual PageReads attend(Compute&, const KeyPlace&, const AttentionSpan& /*query*/, MatView<const float> /*Q*/,
                           size_t /*n_head*/, const AttentionParams&, MatView<float> /*out*/) {
    return {};
  }

  // The same of all queries of a span: reads [queries.n_tokens].
  virtual void attend_all(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, MatView<const float> Q,
                          size_t n_head, const AttentionParams& params, MatView<float> out,
                          std::span<PageReads> reads) {
    for (size_t t = 0; t < queries.n_tokens; ++t)
      reads[t] = attend(compute, place, part_of(queries, t, 1), Q, n_head, params, out);
  }

  // So many leading slots move along: their positions are always those just before the next slot's, and their keys are
  // rotated accordingly, from what they first were.
  virtual size_t n_sinks() const { return 0; }
  std::vector<float>& sink_keys(size_t layer, size_t head) { return sink_keys_[{layer, head}]; }  // [n_sinks * d_head]

 protected:
  std::map<std::pair<size_t, size_t>, std::vector<float>> sink_keys_;
};

class KeySelector : public Selector {
 public:
  // Keys are no rows of a product: nothing is said of these.
  void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
    for (Rows& rows : out) rows.refill_all(evidence.n_rows);
  }
  // A KeyState.
  std::unique_ptr<SelectorState> new_state() const override = 0;

  // Whether what it reads depends on the query: KeyState::attend() takes the place of attention. Such a selector drops
  // nothing, says nothing of prompts (unless it attends to these as well), and can be taken back by as many tokens as
  // one likes.
  virtual bool attends() const { return false; }
  bool drops() const { return !attends(); }
  // Whether a prompt's tokens are attended to so, too: of a form of attention that takes the place of the model's own.
  virtual bool attends_prompts() const { return false; }

  // Whether all keys of a prompt stay until it ends, so that it does not matter where it is cut.
  virtual bool keeps_prompts() const { return false; }
  // Tokens of a text of so many slots that it wants computed once more, at a time, when a prompt has ended and before
  // it chooses; 0: none.
  virtual size_t rereads(size_t /*n_slots*/) const { return 0; }
  // The most slots of a head that are left after a pass, of one that drops some; SIZE_MAX: there is no such number.
  virtual size_t most_slots() const = 0;
  // Whether positions begin anew as slots are dropped, so that a text may be longer than any context.
  virtual bool streams() const { return false; }
  // Whether it speaks at kHeads too.
  virtual bool chooses_heads() const { return false; }

  // Whether what it says of a head depends on nothing but this head's queries, keys and values; and of a layer, on
  // nothing but this layer's: heads, or layers, may then be in different processes (model/ranks.h).
  virtual bool heads_apart() const { return false; }
  virtual bool layers_apart() const { return true; }
  // As key_policy_from() makes one like it; "": it was made otherwise.
  std::string text;
};

}  // namespace hunch
