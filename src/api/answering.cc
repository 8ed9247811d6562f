#include "api/answering.h"

#include "api/impl.h"
#include "api/options.h"

namespace hunch {

Answering::Answering(LanguageModel::Impl& model, const ContextOptions& options)
    : model_(model), context_(model.engine, options) {}

Context& Answering::computed_as(const std::optional<PlanChoice>& plan) {
  if (!plan) return context_;
  ContextOptions options;
  options.plan = model_.plan(*plan);
  if (options.plan.get() == &context_.plan()) return context_;
  if (!beside_ || options.plan.get() != &beside_->plan()) {
    drafting_.reset();
    beside_.reset();
    beside_ = std::make_unique<Context>(model_.engine, options, context_);
  }
  return *beside_;
}

Speculation* Answering::speculation(const DraftOptions& drafts, const Context& context) {
  const DraftingOptions wanted = drafting_options(drafts, model_.engine);
  if (!wanted.any()) return nullptr;
  if (!drafting_ || !(wanted == drafts_) || drafts_for_ != &context) {
    drafting_.reset();
    drafting_ = std::make_unique<Drafting>(model_.engine, context, wanted);
    drafts_ = wanted;
    drafts_for_ = &context;
  }
  return &drafting_->speculation();
}

Generation Answering::generate(std::span<const int32_t> ids, const GenerationOptions& options, const OnText& on_text) {
  Context& context = computed_as(options.plan);
  GenerateOptions own = generate_options(options);
  own.speculation = speculation(options.drafts, context);
  AnswerRecord record(options, on_text);
  const DraftCount before = drafts_of(own.speculation);
  const Generated generated =
      hunch::generate(context, ids, own, [&](const GeneratedToken& token) { return record.take(token); });
  return record.generation(generated, drafts_of(own.speculation) - before);
}

}  // namespace hunch
