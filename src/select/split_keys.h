// What selectors share that weigh a text's last keys one by one, and all before in a form of their own.
#pragma once
#include <vector>

#include "select/listed_keys.h"

namespace hunch {

// In layers with a window, too, everything is as the model has it.
class SplitState : public KeyState {
 public:
  // Keys join the far ones in blocks of so many.
  static constexpr size_t kBlock = 64;

  // The last n_recent keys are never far.
  SplitState(std::string_view kind, const FormOptions& form, size_t n_recent)
      : kind_(kind), n_full_(form.n_full), n_recent_(n_recent) {}

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    for (size_t head = 0; head < out.size(); ++head) out[head].refill_all(place.view.n_slots(head));
  }
  PageReads attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q,
                   size_t n_head, const AttentionParams& params, MatView<float> out) override;
  // Throws Error{kUnsupported} for a model whose scores are more than products of queries and keys.
  void attend_all(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, MatView<const float> Q,
                  size_t n_head, const AttentionParams& params, MatView<float> out,
                  std::span<PageReads> reads) override;

 protected:
  // A query head of one token.
  struct Query {
    const KeyPlace& place;
    const AttentionSpan& span;
    size_t kv_head, n_far;
    float scale;               // of scores
    std::span<const float> q;  // [d]
  };
  // Whether near keys are the model's own attention; else join() weighs them too, and y is not yet written.
  virtual bool near_is_softmax() const { return true; }
  // Makes the first n_far keys of a head what join() reads of them, from what is known of fewer; a multiple of kBlock.
  // Called from several threads, for different heads. Returns how many keys were read for it.
  virtual size_t look(const KeyPlace& place, const KvView& view, size_t kv_head, size_t n_far, float scale) = 0;
  // Before look(), alone: room for all layers and heads.
  virtual void prepare(const KeyPlace& place, const KvView& view) = 0;
  // Mixes the far keys into y [d], what the softmax over the near ones gave, with its largest score and its sum.
  // Returns the bytes that were read. Called from several threads at once.
  virtual size_t join(const Query& query, std::span<float> y, float& max, float& sum) const = 0;

 private:
  size_t n_far(const AttentionSpan& query) const;

  std::string_view kind_;
  size_t n_full_, n_recent_;
  std::vector<Rows> near_;  // [n_kv_head]
};

}  // namespace hunch
