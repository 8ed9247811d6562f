// Selectors of keys by fixed patterns of their places.
#pragma once
#include "select/attention_patterns.h"
#include "select/listed_keys.h"

namespace hunch {

template <class Pattern>
class FixedPattern final : public ListedKeys {
 public:
  FixedPattern(std::string_view kind, const Pattern& pattern, const FormOptions& form)
      : ListedKeys(form), kind_(kind), pattern_(pattern) {}
  std::string_view kind() const override { return kind_; }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(*this); }
  bool heads_apart() const override { return !Pattern::kByHead; }

 private:
  // Remembers nothing.
  class State final : public ListedState {
   public:
    explicit State(const FixedPattern& all) : ListedState(all.form().n_full), all_(all) {}
    std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }
    void truncate(size_t) override {}

   protected:
    size_t choose(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, MatView<const float>,
                  std::vector<uint32_t>& slots) const override {
      all_.pattern_.append({place.layer, kv_head}, query.first_pos, slots);
      return 0;
    }

   private:
    const FixedPattern& all_;
  };

  std::string_view kind_;
  Pattern pattern_;
};

}  // namespace hunch
