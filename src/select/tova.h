// TOVA: what the newest query looked at least goes.
#pragma once
#include "select/key_selector.h"

namespace hunch {

// Every layer keeps, in all of its heads, the `budget` tokens to which the pass's last query gave most attention, mean
// over all query heads; the newest token has no protection. The heads of a layer hold the same tokens.
// Source: Oren et al. 2024, "Transformers are Multi-State RNNs" (arXiv:2401.06104), section 4; their code, TOVACache.
class Tova final : public KeySelector {
 public:
  explicit Tova(size_t budget);

  std::string_view kind() const override { return "tova"; }
  std::unique_ptr<SelectorState> new_state() const override;
  size_t most_slots() const override { return budget_; }

 private:
  class State;
  size_t budget_;
};

}  // namespace hunch
