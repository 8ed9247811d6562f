#include "select/predictors.h"

#include "select/expert_predictors.h"
#include "select/hot_set.h"
#include "select/linear_predictor.h"
#include "select/low_rank_predictor.h"
#include "select/sign_predictor.h"

namespace hunch {

std::shared_ptr<const Predictor> load_predictor(std::string_view stored_kind, size_t n_in, size_t n_out,
                                                const ArchiveReader& archive) {
  if (auto low_rank = LowRankPredictor::load(stored_kind, n_in, n_out, archive)) return low_rank;
  if (auto linear = LinearPredictor::load(stored_kind, n_in, n_out, archive)) return linear;
  if (auto hot_set = HotSetPredictor::load(stored_kind, n_in, n_out, archive)) return hot_set;
  if (auto experts = ExpertPredictors::load(stored_kind, n_in, n_out, archive)) return experts;
  return SignPredictor::load(stored_kind, n_in, n_out, archive);
}

}  // namespace hunch
