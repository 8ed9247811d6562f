// Two selectors at one point: the rows that both keep.
#pragma once
#include "select/selector.h"

namespace hunch {

class Both final : public Selector {
 public:
  // Of the same rows. Each has the state that it would have alone.
  Both(std::shared_ptr<const Selector> first, std::shared_ptr<const Selector> second);

  // Evidence::states is needed where one of the two has a state.
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "both"; }
  size_t bytes() const override { return first_->bytes() + second_->bytes(); }
  std::unique_ptr<SelectorState> new_state() const override;  // the memory of its questions
  void watch(Compute& compute, const Evidence& evidence) const override;

 private:
  class State;
  std::shared_ptr<const Selector> first_, second_;
};

}  // namespace hunch
