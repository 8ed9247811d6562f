#include "select/prompt_neurons.h"

#include "select/prompt_selector.h"

namespace hunch {

void PromptNeurons::choose(Compute& compute, MatView<const float> Z, double share, PromptStatistic& statistic,
                           Rows& out) {
  statistic.clear();
  statistic.add(compute, Z);
  statistic.select(n_kept(share, Z.cols), out);
}

}  // namespace hunch
