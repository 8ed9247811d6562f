// Other matrices in the place of a model's own, for as long as someone looks at what that does.
#pragma once
#include <memory>
#include <vector>

#include "compress/matrix/block_target.h"
#include "linear/layouts.h"

namespace hunch {

// The model's own matrices come back when this goes, or is cleared. No step runs while matrices change.
class StandIns {
 public:
  // `layouts`: the model's; outlives this.
  explicit StandIns(const Layouts& layouts) : layouts_(layouts) {}
  ~StandIns() { clear(); }
  StandIns(const StandIns&) = delete;
  StandIns& operator=(const StandIns&) = delete;

  // W of the same shape as the matrix in `slot`, with this bias ([n_out] or empty). A slot is taken once.
  void put(std::unique_ptr<Linear>& slot, EncodedMatrix W, std::vector<float> bias);
  void clear();

 private:
  struct Held {
    EncodedMatrix W;
    std::unique_ptr<Linear> own;
    std::unique_ptr<Linear>* slot;
  };
  const Layouts& layouts_;
  std::vector<std::unique_ptr<Held>> held_;
};

}  // namespace hunch
