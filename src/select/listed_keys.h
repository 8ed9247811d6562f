// What selectors share that read single keys of the cache, listed anew for every query, and drop nothing.
#pragma once
#include <vector>

#include "select/key_selector.h"

namespace hunch {

// Of the forms of attention (select/attention_forms.h).
struct FormOptions {
  size_t n_full = 0;       // first layers that are left as they are
  bool of_prompts = true;  // prompts are read so too
};

// In layers with a window, too, everything is as the model has it.
class ListedState : public KeyState {
 public:
  explicit ListedState(size_t n_full) : n_full_(n_full) {}

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    for (size_t head = 0; head < out.size(); ++head) out[head].refill_all(place.view.n_slots(head));
  }
  PageReads attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q,
                   size_t n_head, const AttentionParams& params, MatView<float> out) override;
  void attend_all(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, MatView<const float> Q,
                  size_t n_head, const AttentionParams& params, MatView<float> out,
                  std::span<PageReads> reads) override;

 protected:
  // Looks at keys that queries of a span will choose among, of the heads that are computed: what is remembered is of
  // the first n_settled(queries) only. Called before these queries are asked about.
  virtual void look(Compute&, const KeyPlace&, const AttentionSpan& /*queries*/, size_t /*d_head*/) {}
  // Of n queries from this one on, how many choose by the same of what is remembered.
  virtual size_t n_alike(const AttentionSpan& /*query*/, size_t n) const { return n; }
  // Appends the slots that a query reads of a KV head, ascending, its own among them; of slots 0 to query.first_pos.
  // Returns the bytes that were read to know. Called from several threads at once.
  //
  //   q  [n_group, d_head] the query heads that share it
  virtual size_t choose(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, MatView<const float> q,
                        std::vector<uint32_t>& slots) const = 0;
  // Whether draw() does something.
  virtual bool draws() const { return false; }
  // Appends slots, ascending, none of them among the chosen ones, that stand for all that were not chosen: each for as
  // many of these as is returned.
  virtual double draw(const KeyPlace&, const AttentionSpan& /*query*/, size_t /*kv_head*/,
                      std::span<const uint32_t> /*chosen*/, std::vector<uint32_t>& /*drawn*/) const {
    return 1;
  }

 private:
  struct Question;
  void attend_part(const Question& question);
  void attend_to_drawn(const Question& question, std::span<AttentionSpan> spans);

  static constexpr size_t kTogether = 64;  // queries whose lists are held at once
  size_t n_full_;
  std::vector<Rows> lists_, drawn_;  // [queries][n_kv_head]
  std::vector<double> stand_for_;    // [queries][n_kv_head] what draw() said
};

// A selector whose states are ListedStates.
class ListedKeys : public KeySelector {
 public:
  explicit ListedKeys(const FormOptions& form) : form_(form) {}
  bool attends() const override { return true; }
  bool attends_prompts() const override { return form_.of_prompts; }
  size_t most_slots() const override { return SIZE_MAX; }
  bool heads_apart() const override { return true; }
  const FormOptions& form() const { return form_; }

 private:
  FormOptions form_;
};

}  // namespace hunch
