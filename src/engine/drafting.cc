#include "engine/drafting.h"

#include <algorithm>

#include "base/error.h"
#include "engine/context_drafter.h"
#include "engine/ngram_drafter.h"

namespace hunch {

Drafting::Drafting(const Engine& engine, const Sequence& sequence, const DraftingOptions& options)
    : options_(options), speculation_(options.n_tokens) {
  if (options.ngram) speculation_.add(std::make_unique<NgramDrafter>());
  if (options.model) {
    require_same_vocabulary(engine, *options.model);
    // A learned table may be shorter than the target's context: beyond it nothing is drafted.
    const ModelConfig& c = options.model->config();
    const bool table = c.position == PositionKind::kLearned || c.position == PositionKind::kSinusoidal;
    ContextOptions sized;
    sized.n_ctx = table ? std::min(sequence.n_ctx(), c.n_ctx_train) : sequence.n_ctx();
    model_context_ = std::make_unique<Context>(*options.model, sized);
    speculation_.add(std::make_unique<ContextDrafter>("draft model", *model_context_, engine.config().n_vocab));
  }
  if (options.keys && (options.keys->drops() || sequence.plan().keys))
    fail(ErrorKind::kUsage, "drafts that read a part of the cache ({}) are verified with all of it, which {}",
         options.keys->kind(), options.keys->drops() ? "they drop" : "the key policy (kv_policy) does not read");
  if (options.sparse && sequence.plan().name == "sparse")
    fail(ErrorKind::kUsage,
         "a sparse draft is verified by the whole model, not in sparse mode: leave out one of the two");
  if (options.sparse || options.keys) {
    ContextOptions own;
    if (options.sparse) {
      own.mode = "sparse";
    } else {
      own.plan = std::make_shared<const Plan>(sequence.plan());
    }
    own.keys = options.keys;
    own_context_ = std::make_unique<Context>(engine, own, sequence);
    speculation_.add(std::make_unique<ContextDrafter>(
        options.sparse ? options.keys ? "sparse, pages" : "sparse" : "pages", *own_context_, engine.config().n_vocab));
  }
}

}  // namespace hunch
