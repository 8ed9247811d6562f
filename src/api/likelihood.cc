// How likely one text is after another.
#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "hunch/evaluate.h"
#include "measure/continuation_scorer.h"

namespace hunch {
namespace {

ContextOptions scoring_options(ModelImpl& model, const LikelihoodOptions& options) {
  ContextOptions own = model.options_for_values(choice_of(options));
  own.n_ctx = options.n_ctx ? resolve_context(model.engine.config(), options.n_ctx) : model.options.n_ctx;
  return own;
}

Likelihood likelihood_of(const ContinuationScore& score) {
  Likelihood out;
  out.log_likelihood = score.log_likelihood;
  out.greedy = score.greedy;
  return out;
}

}  // namespace

struct LikelihoodScorer::Impl {
  std::shared_ptr<ModelImpl> model;
  ContinuationScorer scorer;
  const Cancel* cancel;
};

LikelihoodScorer::LikelihoodScorer(LanguageModel& model, const LikelihoodOptions& options) {
  ModelImpl& impl = *impl_of(model);
  impl_.reset(
      new Impl{impl_of(model), ContinuationScorer(impl.engine, scoring_options(impl, options)), options.cancel});
}

LikelihoodScorer::~LikelihoodScorer() = default;
LikelihoodScorer::LikelihoodScorer(LikelihoodScorer&&) noexcept = default;
LikelihoodScorer& LikelihoodScorer::operator=(LikelihoodScorer&&) noexcept = default;

Likelihood LikelihoodScorer::score(std::string_view before, std::string_view continuation) {
  if (continuation.empty()) fail(ErrorKind::kUsage, "an empty continuation, expected a text");
  const StopScope scope(*impl_->model->engine.compute, stop_of(impl_->cancel));
  return likelihood_of(impl_->scorer.score(std::string(before), std::string(continuation)));
}

Likelihood LikelihoodScorer::score(std::span<const int32_t> before, std::span<const int32_t> continuation) {
  if (before.empty()) fail(ErrorKind::kUsage, "no token before the continuation, expected at least one");
  std::vector<int32_t> ids(before.begin(), before.end());
  ids.insert(ids.end(), continuation.begin(), continuation.end());
  const size_t n_vocab = impl_->model->engine.config().n_vocab;
  for (const int32_t id : ids)  // the last one is predicted and never read
    if (id < 0 || size_t(id) >= n_vocab)
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {}, expected 0 to {}", id, n_vocab,
           n_vocab - 1);
  const StopScope scope(*impl_->model->engine.compute, stop_of(impl_->cancel));
  return likelihood_of(impl_->scorer.score(std::move(ids), before.size()));
}

size_t LikelihoodScorer::n_ctx() const { return impl_->scorer.context().n_ctx(); }

}  // namespace hunch
