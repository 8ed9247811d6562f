#include "select/expert_predictors.h"

#include "select/nested_archive.h"
#include "select/predictors.h"

namespace hunch {
namespace {

constexpr std::string_view kPrefix = "experts:";  // then the kind of each
constexpr double kMostExperts = 4096;

std::string name_of_expert(size_t expert) { return fmt::format(".{}", expert); }

}  // namespace

ExpertPredictors::ExpertPredictors(std::vector<std::shared_ptr<const Predictor>> experts)
    : experts_(std::move(experts)) {
  for (const auto& expert : experts_) {
    if (!expert) continue;
    if (!any_) any_ = expert.get();
    if (expert->stored_kind() != any_->stored_kind() || expert->n_in() != any_->n_in() ||
        expert->n_out() != any_->n_out())
      fail(ErrorKind::kFormat, "predictors of a layer's experts: {} of {} by {} beside {} of {} by {}",
           any_->stored_kind(), any_->n_out(), any_->n_in(), expert->stored_kind(), expert->n_out(), expert->n_in());
  }
  if (!any_)
    fail(ErrorKind::kFormat, "predictors of {} experts: expected at least one, there is none", experts_.size());
  stored_kind_ = std::string(kPrefix) + std::string(any_->stored_kind());
}

void ExpertPredictors::score(Compute&, MatView<const float>, MatView<float>) const {
  HUNCH_CHECK(false, "of which expert is not said");
}

size_t ExpertPredictors::bytes() const {
  size_t sum = 0;
  for (const auto& expert : experts_) sum += expert ? expert->bytes() : 0;
  return sum / experts_.size();
}

std::shared_ptr<const Predictor> ExpertPredictors::part(size_t first, size_t n) const {
  std::vector<std::shared_ptr<const Predictor>> own;
  for (const auto& expert : experts_) own.push_back(expert ? expert->part(first, n) : nullptr);
  return std::make_shared<ExpertPredictors>(std::move(own));
}

void ExpertPredictors::save(ArchiveWriter& archive) const {
  archive.number(".n_experts", double(experts_.size()));
  for (size_t e = 0; e < experts_.size(); ++e) {
    NestedWriter nested(archive, name_of_expert(e));
    nested.number(".is_there", experts_[e] ? 1 : 0);
    if (experts_[e]) experts_[e]->save(nested);
  }
}

std::shared_ptr<const Predictor> ExpertPredictors::load(std::string_view stored_kind, size_t n_in, size_t n_out,
                                                        const ArchiveReader& archive) {
  if (!stored_kind.starts_with(kPrefix) || stored_kind.substr(kPrefix.size()).starts_with(kPrefix)) return nullptr;
  const double n = archive.number(".n_experts", 1);
  if (n > kMostExperts) fail(ErrorKind::kFormat, "predictors of {} experts, expected at most {}", n, kMostExperts);
  std::vector<std::shared_ptr<const Predictor>> experts;
  for (size_t e = 0; e < size_t(n); ++e) {
    const NestedReader nested(archive, name_of_expert(e));
    experts.push_back(nullptr);
    if (nested.number(".is_there", 0) == 0) continue;
    experts.back() = load_predictor(stored_kind.substr(kPrefix.size()), n_in, n_out, nested);
    if (!experts.back()) return nullptr;
  }
  return std::make_shared<const ExpertPredictors>(std::move(experts));
}

}  // namespace hunch
